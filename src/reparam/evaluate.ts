/** Evaluates a weight expression in float64. */
import {
  type Float64Tensor,
  type Graph,
  interpret,
  type Node,
  type StateSource,
} from "../graph/index.js";

/** The value of weight node `id`, from the parameters it depends on; nothing else is read. */
export function evaluateWeight(graph: Graph, id: number, state: StateSource): Float64Tensor {
  const expression = subgraph(graph, id);
  const { outputs } = interpret(expression, state, undefined, { mode: "infer" });
  return outputs.get("value")!;
}

/** The part of a graph that a value depends on, as a graph with the output `value`. */
export function subgraph(graph: Graph, id: number): Graph {
  const needed = new Set([id]);
  for (let at = id; at >= 0; at--) {
    if (needed.has(at)) for (const input of graph.nodes[at]?.inputs ?? []) needed.add(input);
  }
  const order = [...needed].sort((a, b) => a - b);
  const positions = new Map(order.map((old, position) => [old, position]));
  const nodes = order.map((old, position): Node => {
    const node = graph.nodes[old]!;
    return { ...node, id: position, inputs: node.inputs.map((input) => positions.get(input)!) };
  });
  return { nodes, outputs: [{ name: "value", value: positions.get(id)! }] };
}
