/** The WebAssembly backend: TensorFlow.js's own kernels on SIMD, without threads. */
import { createRequire } from "node:module";
import { dirname, sep } from "node:path";

import type * as wasmModule from "@tensorflow/tfjs-backend-wasm";

import type { Tf, TfjsBackend } from "../backend.js";

export async function loadWasmBackend(): Promise<TfjsBackend> {
  const require = createRequire(import.meta.url);
  // Both by `require`, so that they share one instance of tfjs-core.
  const tf = require("@tensorflow/tfjs-core") as Tf;
  const wasm = require("@tensorflow/tfjs-backend-wasm") as typeof wasmModule;
  wasm.setWasmPaths(dirname(require.resolve("@tensorflow/tfjs-backend-wasm")) + sep);
  await tf.setBackend("wasm");
  const version = tf.version_core;
  return {
    ...{ name: "wasm", tf, version, devices: ["cpu"] },
    description: `TensorFlow.js ${version}, WebAssembly SIMD`,
  };
}
