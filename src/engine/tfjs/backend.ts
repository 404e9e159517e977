/**
 * What the engine asks of a backend of TensorFlow.js: its instance of tfjs-core, and, where it has a
 * faster way, its own forward and backward passes of the layers that take the time.
 *
 * Everything the engine computes goes through the injected `tf`: tfjs-node brings a copy of tfjs-core of
 * its own, and a tensor belongs to the copy that made it.
 */
import type * as tfjsCore from "@tensorflow/tfjs-core";
import type { Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";

import { RepkitError } from "../../errors.js";
import type { Pair, Padding } from "../../graph/index.js";
import type { Device } from "../types.js";

export type Tf = typeof tfjsCore;

/** Best first: the order in which they are tried. */
export const BACKEND_NAMES = ["node-gpu", "node", "wasm", "cpu"] as const;
export type BackendName = (typeof BACKEND_NAMES)[number];

export interface TfjsBackend {
  readonly name: BackendName;
  /** With this backend set and ready. */
  readonly tf: Tf;
  /** TensorFlow.js's, or that of the TensorFlow underneath. */
  readonly version: string;
  /** One line: `TensorFlow.js 4.22.0, WebAssembly SIMD`. */
  readonly description: string;
  readonly devices: readonly Device[];
  /** Replaces the layers of `plainLayers`, one by one. */
  readonly layers?: Partial<Layers>;
}

/**
 * Layers with a forward and a backward pass of their own. Activations are N,H,W,C, kernels H,W,I,O with
 * I per group, and all values float32. Nothing given may be disposed of or changed; what comes back is
 * new (or a `clone`) and the caller's. A call is made inside of a `tf.tidy`, so that what it leaves
 * behind is cleaned up; the engine differentiates by these passes and never through a tape.
 */
export interface Layers {
  /** Cross-correlation with zero padding. */
  conv2d(x: Tensor4D, kernel: Tensor4D, window: ConvWindow): Tensor4D;
  /** The gradient of x [N,H,W,I] from that of y. */
  conv2dGradX(dy: Tensor4D, kernel: Tensor4D, shape: Shape4, window: ConvWindow): Tensor4D;
  /** The gradient of the kernel [h,w,I/groups,O]. */
  conv2dGradKernel(x: Tensor4D, dy: Tensor4D, shape: Shape4, window: ConvWindow): Tensor4D;
  /** Training mode: normalises by the mean and *biased* variance of the batch, which come back too. */
  batchNorm(x: Tensor4D, gamma: Tensor1D, beta: Tensor1D, eps: number): Normalised;
  /** From the gradient of y alone: the statistics are read by nothing that is differentiated. */
  batchNormGrad(dy: Tensor4D, saved: SavedBatchNorm): BatchNormGradients;
  /** Evaluation mode: (x - mean) / sqrt(variance + eps) * gamma + beta. */
  batchNormInfer(x: Tensor4D, statistics: Statistics, gamma: Tensor1D, beta: Tensor1D): Tensor4D;
  /** Padding never wins. */
  maxPool(x: Tensor4D, window: PoolWindow): Tensor4D;
  maxPoolGrad(dy: Tensor4D, x: Tensor4D, y: Tensor4D, window: PoolWindow): Tensor4D;
  /** The sum over each window of what lies inside the image, divided by `divisor` (the window's area), or by their number without it. */
  avgPool(x: Tensor4D, window: AvgPoolWindow): Tensor4D;
  avgPoolGrad(dy: Tensor4D, shape: Shape4, window: AvgPoolWindow): Tensor4D;
  relu(x: Tensor4D): Tensor4D;
  /** dy where y > 0, else 0. */
  reluGrad(dy: Tensor4D, y: Tensor4D): Tensor4D;
}

export type Shape4 = [number, number, number, number];

export interface PoolWindow {
  /** [vertical, horizontal] */
  readonly kernel: Pair;
  readonly stride: Pair;
  /** [top, bottom, left, right], none of them negative: the engine crops beforehand. */
  readonly padding: Padding;
}

export interface AvgPoolWindow extends PoolWindow {
  readonly countIncludePad: boolean;
}

export interface ConvWindow extends PoolWindow {
  readonly dilation: Pair;
  readonly groups: number;
}

export interface Normalised {
  readonly y: Tensor4D;
  readonly mean: Tensor1D;
  readonly variance: Tensor1D;
}

export interface SavedBatchNorm {
  readonly x: Tensor4D;
  readonly gamma: Tensor1D;
  readonly mean: Tensor1D;
  readonly variance: Tensor1D;
  readonly eps: number;
}

export interface BatchNormGradients {
  readonly dx: Tensor4D;
  readonly dgamma: Tensor1D;
  readonly dbeta: Tensor1D;
}

export interface Statistics {
  readonly mean: Tensor1D;
  readonly variance: Tensor1D;
  readonly eps: number;
}

/**
 * Loads a backend. Throws an `environment` error that gives the cause and the command that mends it,
 * where it is not there or does not start.
 */
export async function loadBackend(name: BackendName): Promise<TfjsBackend> {
  switch (name) {
    case "node-gpu":
    case "node": {
      const { loadNodeBackend } = await import("./node/index.js");
      return loadNodeBackend(name);
    }
    case "wasm": {
      const { loadWasmBackend } = await import("./wasm/index.js");
      return loadWasmBackend();
    }
    case "cpu": {
      const { loadCpuBackend } = await import("./cpu.js");
      return loadCpuBackend();
    }
  }
}

/** An `environment` error of a backend: what is wrong and what to run. */
export function backendError(name: BackendName, problem: string, fix: string, cause?: unknown) {
  return new RepkitError("environment", `engine tfjs:${name}: ${problem}; run: ${fix}`, {
    cause,
    details: { problem, fix },
  });
}
