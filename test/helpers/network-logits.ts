import { runNetwork } from "../../src/convert/network.js";
import type { Graph, StateSource } from "../../src/graph/index.js";

/** What a network makes of the image that all networks are compared on. */
export function networkLogits(graph: Graph, state: StateSource): Float64Array {
  const run = runNetwork(graph, state);
  let step = run.next();
  while (step.done !== true) step = run.next();
  return step.value;
}
