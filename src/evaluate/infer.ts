/** The logits of a batch. */
import type { Executable } from "../engine/types.js";
import { RepkitError } from "../errors.js";
import { type Graph, type Images, type Tensor, toFloat32 } from "../graph/index.js";

/** [N, classes] of the first output: auxiliary heads come after it. */
export async function inferLogits(
  executable: Pick<Executable, "infer">,
  graph: Graph,
  images: Images,
): Promise<Tensor<Float32Array>> {
  const { outputs } = await executable.infer(images);
  const logits = outputs.get(graph.outputs[0]?.name ?? "");
  if (logits === undefined) throw new RepkitError("internal", "the engine gives no logits");
  return toFloat32(logits);
}
