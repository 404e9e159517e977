/** The layers that TensorFlow has kernels of its own for, forward and backward. */
import type { Tensor, Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";

import type { AvgPoolWindow, Layers, PoolWindow, Tf } from "../backend.js";
import { convolutions } from "./convolution.js";
import { Attributes, type NodeBackend, sizes, zeroPad } from "./ops.js";

export function nodeLayers(tf: Tf, backend: NodeBackend): Layers {
  return {
    ...convolutions(tf, backend),
    ...batchNorms(tf, backend),
    ...pools(tf, backend),
    ...relus(backend),
  };
}

function batchNorms(
  tf: Tf,
  backend: NodeBackend,
): Pick<Layers, "batchNorm" | "batchNormGrad" | "batchNormInfer"> {
  const attributes = new Attributes(backend.binding);
  const isGpu = backend.binding.isUsingGpuDevice();
  const common = (eps: number, isTraining: boolean) => [
    ...[attributes.float32("T"), attributes.float32("U"), attributes.float("epsilon", eps)],
    ...[attributes.nhwc(), attributes.bool("is_training", isTraining)],
  ];
  const none = () => tf.tensor1d([], "float32");
  return {
    batchNorm(x, gamma, beta, eps) {
      const inputs = [x, gamma, beta, none(), none()];
      // y, mean, unbiased variance, and for the gradient: mean, biased variance, workspace.
      const outputs = backend.executeMultipleOutputs(
        "FusedBatchNormV3",
        [...common(eps, true), attributes.float("exponential_avg_factor", 1)],
        inputs,
        6,
      );
      const [y, mean, unbiased, , saved] = outputs as [Tensor4D, ...Tensor1D[]];
      // On CUDA `saved` is 1/sqrt(variance + eps).
      const count = x.size / x.shape[3];
      const variance = isGpu ? tf.mul<Tensor1D>(unbiased!, (count - 1) / count) : saved!;
      return { y, mean: mean!, variance };
    },

    batchNormGrad(dy, { x, gamma, mean, variance, eps }) {
      const saved = isGpu ? tf.rsqrt(tf.add(variance, eps)) : variance;
      const outputs = backend.executeMultipleOutputs(
        "FusedBatchNormGradV3",
        common(eps, true),
        [dy, x, gamma, mean, saved, none()],
        5,
      );
      const [dx, dgamma, dbeta] = outputs as [Tensor4D, Tensor1D, Tensor1D, ...Tensor[]];
      return { dx, dgamma, dbeta };
    },

    batchNormInfer(x, { mean, variance, eps }, gamma, beta) {
      const [y] = backend.executeMultipleOutputs(
        "FusedBatchNormV3",
        [...common(eps, false), attributes.float("exponential_avg_factor", 1)],
        [x, gamma, beta, mean, variance],
        6,
      );
      return y as Tensor4D;
    },
  };
}

function pools(
  tf: Tf,
  backend: NodeBackend,
): Pick<Layers, "maxPool" | "maxPoolGrad" | "avgPool" | "avgPoolGrad"> {
  const attributes = new Attributes(backend.binding);
  const common = ({ kernel, stride }: PoolWindow) => [
    ...[attributes.float32("T"), attributes.pair("ksize", kernel)],
    ...[attributes.pair("strides", stride), attributes.nhwc()],
  ];
  const valid = attributes.padding([0, 0, 0, 0]);
  return {
    maxPool(x, window) {
      const all = [...common(window), ...attributes.padding(window.padding)];
      return backend.executeSingleOutput("MaxPool", all, [x]) as Tensor4D;
    },

    maxPoolGrad(dy, x, y, window) {
      const all = [...common(window), ...attributes.padding(window.padding)];
      return backend.executeSingleOutput("MaxPoolGrad", all, [x, y, dy]) as Tensor4D;
    },

    avgPool(x, window) {
      const padded = zeroPad(tf, x, window.padding);
      const all = [...common(window), ...valid];
      const y = backend.executeSingleOutput("AvgPool", all, [padded]) as Tensor4D;
      const shares = insideShares(x.shape, window);
      return shares === undefined ? y : tf.div<Tensor4D>(y, shares(tf));
    },

    avgPoolGrad(dy, shape, window) {
      const shares = insideShares(shape, window);
      const scaled = shares === undefined ? dy : tf.div<Tensor4D>(dy, shares(tf));
      const [count, height, width, channels] = shape;
      const [top, bottom, left, right] = window.padding;
      const padded = [count, height + top + bottom, width + left + right, channels];
      const all = [...common(window), ...valid];
      const dx = backend.executeSingleOutput("AvgPoolGrad", all, [sizes(tf, padded), scaled]);
      return tf.slice(dx as Tensor4D, [0, top, left, 0], shape);
    },
  };
}

/** Which part of each window [1,H,W,1] lies inside of the image, where that is to be divided by. */
function insideShares(
  [, height, width]: readonly number[],
  { kernel, stride, padding, countIncludePad }: AvgPoolWindow,
): ((tf: Tf) => Tensor4D) | undefined {
  const [top, bottom, left, right] = padding;
  if (countIncludePad || top + bottom + left + right === 0) return undefined;
  const rows = inside(height!, kernel[0], stride[0], top, bottom);
  const columns = inside(width!, kernel[1], stride[1], left, right);
  return (tf) => {
    const vertical = tf.tensor4d(rows, [1, rows.length, 1, 1]);
    return tf.mul(vertical, tf.tensor4d(columns, [1, 1, columns.length, 1]));
  };
}

/** For each window along one axis: its share of positions from 0 to size - 1. */
function inside(size: number, kernel: number, stride: number, before: number, after: number) {
  const count = Math.floor((size + before + after - kernel) / stride) + 1;
  return Array.from({ length: count }, (_, i) => {
    const first = i * stride - before;
    return (Math.min(first + kernel, size) - Math.max(first, 0)) / kernel;
  });
}

function relus(backend: NodeBackend): Pick<Layers, "relu" | "reluGrad"> {
  const all = [new Attributes(backend.binding).float32("T")];
  return {
    relu: (x) => backend.executeSingleOutput("Relu", all, [x]) as Tensor4D,
    reluGrad: (dy, y) => backend.executeSingleOutput("ReluGrad", all, [dy, y]) as Tensor4D,
  };
}
