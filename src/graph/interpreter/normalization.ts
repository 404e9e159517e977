/**
 * Batch normalisation, y = (x - mean) / sqrt(var + eps) * gamma + beta per channel, and DBB's padded
 * form, whose border holds the value that BN gives to 0 by its *running* statistics.
 * x_NCHW; gamma, beta, mean, variance [C].
 */
import type { Float64Tensor } from "../tensor.js";
import type { OpOf } from "../types.js";
import { extents4 } from "./convolution.js";

export interface BatchNormInputs {
  readonly gamma: Float64Tensor;
  readonly beta: Float64Tensor;
  readonly mean: Float64Tensor;
  readonly variance: Float64Tensor;
}

export function batchNormInfer(
  x: Float64Tensor,
  weights: BatchNormInputs,
  op: OpOf<"batchNorm">,
): Float64Tensor {
  return normalise(x, weights, weights, op);
}

/**
 * Normalises by the batch's mean and biased variance, and returns the running statistics after the
 * step: momentum * batch + (1 - momentum) * before, with the unbiased variance.
 */
export function batchNormTrain(
  x: Float64Tensor,
  weights: BatchNormInputs,
  op: OpOf<"batchNorm">,
): { output: Float64Tensor; mean: Float64Tensor; variance: Float64Tensor } {
  const [batch, channels, height, width] = extents4(x);
  const area = height * width;
  const count = batch * area;
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    let sum = 0;
    forChannel(x, c, (value) => (sum += value));
    const centre = sum / count;
    let squares = 0;
    forChannel(x, c, (value) => (squares += (value - centre) ** 2));
    mean[c] = centre;
    variance[c] = squares / count;
  }
  const unbiased = count / Math.max(count - 1, 1);
  const { momentum } = op;
  const mixed = (before: Float64Tensor, now: Float64Array, factor: number): Float64Tensor => ({
    shape: before.shape,
    data: before.data.map((value, c) => (1 - momentum) * value + momentum * factor * now[c]!),
  });
  const running = {
    mean: mixed(weights.mean, mean, 1),
    variance: mixed(weights.variance, variance, unbiased),
  };
  const shape = [channels];
  const statistics = { mean: { shape, data: mean }, variance: { shape, data: variance } };
  return {
    output: normalise(x, { ...weights, ...statistics }, { ...weights, ...running }, op),
    ...running,
  };
}

/** Normalises by `inner`'s statistics; the border of `op.pad` pixels is BN(0) by `border`'s. */
function normalise(
  x: Float64Tensor,
  inner: BatchNormInputs,
  border: BatchNormInputs,
  op: OpOf<"batchNorm">,
): Float64Tensor {
  const [batch, channels, height, width] = extents4(x);
  const [top, bottom, left, right] = op.pad;
  const outH = height + top + bottom;
  const outW = width + left + right;
  const y = new Float64Array(batch * channels * outH * outW);
  for (let n = 0; n < batch; n++) {
    for (let c = 0; c < channels; c++) {
      const plane = n * channels + c;
      const target = plane * outH * outW;
      if (outH * outW > height * width) {
        const { mean, std, gamma, beta } = channelOf(border, c, op.eps);
        y.fill(((0 - mean) / std) * gamma + beta, target, target + outH * outW);
      }
      const { mean, std, gamma, beta } = channelOf(inner, c, op.eps);
      for (let h = 0; h < height; h++) {
        const from = (plane * height + h) * width;
        const to = target + (h + top) * outW + left;
        for (let w = 0; w < width; w++)
          y[to + w] = ((x.data[from + w]! - mean) / std) * gamma + beta;
      }
    }
  }
  return { shape: [batch, channels, outH, outW], data: y };
}

function channelOf(weights: BatchNormInputs, c: number, eps: number) {
  return {
    mean: weights.mean.data[c]!,
    std: Math.sqrt(weights.variance.data[c]! + eps),
    gamma: weights.gamma.data[c]!,
    beta: weights.beta.data[c]!,
  };
}

function forChannel(x: Float64Tensor, channel: number, visit: (value: number) => void): void {
  const [batch, channels, height, width] = extents4(x);
  const area = height * width;
  for (let n = 0; n < batch; n++) {
    const start = (n * channels + channel) * area;
    for (let i = start; i < start + area; i++) visit(x.data[i]!);
  }
}
