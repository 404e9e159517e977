/** Runs a whole network on the image that networks are compared on. */
import {
  elementCount,
  type Graph,
  interpret,
  randomStream,
  type StateSource,
} from "../graph/index.js";
import { recycle } from "../util/spare-memory.js";
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
  const weights = layerWeights(main);
  const { outputs } = interpret(
    main,
    state,
    { shape, data },
    {
      mode: "infer",
      onRelease: (node, value) => {
        if (weights.has(node.id)) recycle(value.data);
      },
    },
  );
  return outputs.get("logits")!.data;
}

/** Parameters that nothing but layers read, so that no other value shares their memory. */
function layerWeights({ nodes }: Graph): ReadonlySet<number> {
  const found = new Set(nodes.filter(({ op }) => op.kind === "param").map(({ id }) => id));
  for (const { op, inputs } of nodes) {
    if (op.kind === "conv2d" || op.kind === "linear") continue;
    for (const input of inputs) found.delete(input);
  }
  return found;
}
