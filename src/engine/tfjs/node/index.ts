/** TensorFlow.js on TensorFlow's own library. */
import { backendError, type TfjsBackend } from "../backend.js";

export function loadNodeBackend(name: "node" | "node-gpu"): Promise<TfjsBackend> {
  return Promise.reject(backendError(name, "it is not installed", "node scripts/setup-tfjs-node"));
}
