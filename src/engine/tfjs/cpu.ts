/** The backend in plain JavaScript: slow, and runs wherever Node does. */
import { createRequire } from "node:module";

import type { Tf, TfjsBackend } from "./backend.js";

export async function loadCpuBackend(): Promise<TfjsBackend> {
  const require = createRequire(import.meta.url);
  // Both by `require`, so that they share one instance of tfjs-core.
  const tf = require("@tensorflow/tfjs-core") as Tf;
  require("@tensorflow/tfjs-backend-cpu");
  await tf.setBackend("cpu");
  // It would print an advertisement of tfjs-node.
  (tf.backend() as unknown as { firstUse: boolean }).firstUse = false;
  const version = tf.version_core;
  return {
    ...{ name: "cpu", tf, version, devices: ["cpu"] },
    description: `TensorFlow.js ${version}, plain JavaScript`,
  };
}
