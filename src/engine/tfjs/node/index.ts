/** TensorFlow.js on TensorFlow's own library. */
import type { BackendName, TfjsBackend } from "../backend.js";
import { nodeLayers } from "./layers.js";
import { loadTfjsNode, type TfjsNodeOptions } from "./load.js";
import type { NodeBackend } from "./ops.js";

export async function loadNodeBackend(
  name: Extract<BackendName, "node" | "node-gpu">,
  options: TfjsNodeOptions = {},
): Promise<TfjsBackend> {
  const tf = await loadTfjsNode(`tfjs-${name}`, options);
  const backend = tf.backend() as unknown as NodeBackend;
  const { TF_Version: version } = backend.binding;
  const isGpu = backend.binding.isUsingGpuDevice();
  return {
    ...{ name, tf, version, devices: isGpu ? ["cpu", "cuda:0"] : ["cpu"] },
    description: `TensorFlow ${version} through tfjs-node (${isGpu ? "cuda:0" : "cpu"})`,
    layers: nodeLayers(tf, backend),
  };
}
