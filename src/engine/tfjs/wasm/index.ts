/** The WebAssembly backend: TensorFlow.js's own kernels on SIMD, without threads, and layers of ours. */
import { createRequire } from "node:module";
import { dirname, sep } from "node:path";

import type * as TfjsWasm from "@tensorflow/tfjs-backend-wasm";

import type { Layers, Tf, TfjsBackend } from "../backend.js";
import { conv2d, conv2dGradKernel, conv2dGradX } from "./conv.js";
import { Heap } from "./heap.js";
import { batchNorm, batchNormGrad, batchNormInfer, relu, reluGrad } from "./norm.js";
import { avgPool, avgPoolGrad, maxPool, maxPoolGrad } from "./pool.js";

type WasmModule = typeof TfjsWasm;

export async function loadWasmBackend(): Promise<TfjsBackend> {
  const require = createRequire(import.meta.url);
  // Both by `require`, so that they share one instance of tfjs-core.
  const tf = require("@tensorflow/tfjs-core") as Tf;
  const wasm = require("@tensorflow/tfjs-backend-wasm") as WasmModule;
  wasm.setWasmPaths(dirname(require.resolve("@tensorflow/tfjs-backend-wasm")) + sep);
  await tf.setBackend("wasm");
  const version = tf.version_core;
  return {
    ...{ name: "wasm", tf, version, devices: ["cpu"], layers: wasmLayers(tf) },
    description: `TensorFlow.js ${version}, WebAssembly SIMD`,
  };
}

/** `tf`: with the WebAssembly backend set and ready. */
export function wasmLayers(tf: Tf): Layers {
  const heap = new Heap(tf);
  return {
    conv2d: (...inputs) => conv2d(heap, ...inputs),
    conv2dGradX: (...inputs) => conv2dGradX(heap, ...inputs),
    conv2dGradKernel: (...inputs) => conv2dGradKernel(heap, ...inputs),
    batchNorm: (...inputs) => batchNorm(heap, ...inputs),
    batchNormGrad: (...inputs) => batchNormGrad(heap, ...inputs),
    batchNormInfer: (...inputs) => batchNormInfer(heap, ...inputs),
    maxPool: (...inputs) => maxPool(heap, ...inputs),
    maxPoolGrad: (...inputs) => maxPoolGrad(heap, ...inputs),
    avgPool: (...inputs) => avgPool(heap, ...inputs),
    avgPoolGrad: (...inputs) => avgPoolGrad(heap, ...inputs),
    relu: (...inputs) => relu(heap, ...inputs),
    reluGrad: (...inputs) => reluGrad(heap, ...inputs),
  };
}
