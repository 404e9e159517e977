/** Runs a whole network on the image that networks are compared on. */
import { elementCount, interpret, randomStream, type StateSource } from "../graph/index.js";
import { buildModel, type ModelOptions } from "../zoo/index.js";

/** Pixels: enough to pass through every layer of the registry's networks. */
const CHECK_SIZE = 32;

/** What a network makes of the image that all networks are compared on. */
export function networkLogits(model: ModelOptions, state: StateSource): Float64Array {
  const { graph } = buildModel({ ...model, imageSize: CHECK_SIZE });
  const main = { ...graph, outputs: graph.outputs.filter(({ name }) => name === "logits") };
  const shape = [1, 3, CHECK_SIZE, CHECK_SIZE];
  const random = randomStream(0, "network check");
  const data = Float64Array.from({ length: elementCount(shape) }, () => 4 * random() - 2);
  const { outputs } = interpret(main, state, { shape, data }, { mode: "infer" });
  return outputs.get("logits")!.data;
}
