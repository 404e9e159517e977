/** Runs a whole network on the image that networks are compared on. */
import {
  elementCount,
  feedImages,
  type Graph,
  interpretStepwise,
  type Node,
  randomStream,
  type StateSource,
} from "../graph/index.js";

/** Pixels: enough to pass through every layer of the registry's networks. */
const CHECK_SIZE = 32;

/** Yields each node before it is computed, and returns the logits. */
export function* runNetwork(
  graph: Graph,
  state: StateSource,
): Generator<Node, Float64Array, undefined> {
  const shape = [3, CHECK_SIZE, CHECK_SIZE];
  const input = graph.nodes.findIndex(({ op }) => op.kind === "input");
  const main = {
    ...feedImages(graph, input, shape),
    outputs: graph.outputs.filter(({ name }) => name === "logits"),
  };
  const random = randomStream(0, "network check");
  const data = Float64Array.from({ length: elementCount(shape) }, () => 4 * random() - 2);
  const images = { shape: [1, ...shape], data };
  const { outputs } = yield* interpretStepwise(main, state, images, { mode: "infer" });
  return outputs.get("logits")!.data;
}
