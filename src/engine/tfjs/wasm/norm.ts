/** Batch norm in training and evaluation mode, and ReLU (norm.wat). */
import type { Tensor, Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";

import { RepkitError } from "../../../errors.js";
import type { BatchNormGradients, Normalised, SavedBatchNorm, Statistics } from "../backend.js";
import { channelsByFour, firstChannels } from "./depthwise.js";
import { expectShape } from "./geometry.js";
import type { Heap, Take } from "./heap.js";

/** Rows summed in float32 before their sum goes to float64. */
const BLOCK = 128;
/** Rows, spread over the batch, whose mean is subtracted from all before they are squared. */
const SAMPLE = 64;

/** Statistics in float64: mean and biased variance of each channel. */
function momentsOf(
  heap: Heap,
  take: Take,
  x: Tensor4D,
): { mean: Float64Array; variance: Float64Array } {
  const channels = x.shape[3];
  const bytes = channels * 4;
  const rows = x.size / channels;
  const address = heap.address(x);
  const block = take(bytes * 2);
  const shift = take(bytes);
  const sums = take(bytes * 4);
  heap.view(block, channels * 2).fill(0);
  heap.view(shift, channels).fill(0);
  const totals = heap.doubles(sums, channels * 2);
  const add = (first: number, count: number, step: number) =>
    heap.norm.moments(address + first * bytes, count, step * bytes, bytes, shift, block, sums);

  totals.fill(0);
  const sample = Math.min(rows, SAMPLE);
  add(0, sample, Math.floor(rows / sample));
  const center = heap.view(shift, channels);
  for (let c = 0; c < channels; c++) center[c] = totals[c]! / sample;

  totals.fill(0);
  for (let row = 0; row < rows; row += BLOCK) add(row, Math.min(BLOCK, rows - row), 1);
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    const offset = totals[c]! / rows;
    mean[c] = center[c]! + offset;
    variance[c] = Math.max(0, totals[channels + c]! / rows - offset * offset);
  }
  return { mean, variance };
}

export function batchNorm(
  heap: Heap,
  image: Tensor4D,
  gamma: Tensor1D,
  beta: Tensor1D,
  eps: number,
): Normalised {
  const channels = channelsOf(image);
  expectShape("gamma", gamma, [channels]);
  expectShape("beta", beta, [channels]);
  const x = channelsByFour(heap, image);
  const outputs = [heap.output<Tensor1D>([channels]), heap.output<Tensor1D>([channels])] as const;
  const y = heap.borrow((take) => {
    const { mean, variance } = momentsOf(heap, take, x);
    heap.view(heap.address(outputs[0]), channels).set(mean.subarray(0, channels));
    heap.view(heap.address(outputs[1]), channels).set(variance.subarray(0, channels));
    return normalise(heap, take, x, { mean, variance, eps, gamma, beta });
  });
  return { y: firstChannels(heap, y, channels), mean: outputs[0], variance: outputs[1] };
}

export function batchNormInfer(
  heap: Heap,
  image: Tensor4D,
  { mean, variance, eps }: Statistics,
  gamma: Tensor1D,
  beta: Tensor1D,
): Tensor4D {
  const channels = channelsOf(image);
  for (const value of [mean, variance, gamma, beta]) {
    expectShape("a batch norm's statistic or weight", value, [channels]);
  }
  const x = channelsByFour(heap, image);
  const y = heap.borrow((take) =>
    normalise(heap, take, x, {
      ...{ mean: values(heap, mean).slice(), variance: values(heap, variance).slice() },
      ...{ eps, gamma, beta },
    }),
  );
  return firstChannels(heap, y, channels);
}

interface Normalisation {
  readonly mean: ArrayLike<number>;
  readonly variance: ArrayLike<number>;
  readonly eps: number;
  readonly gamma: Tensor1D;
  readonly beta: Tensor1D;
}

function normalise(heap: Heap, take: Take, x: Tensor4D, by: Normalisation): Tensor4D {
  const channels = x.shape[3];
  const y = heap.output(x.shape);
  const coefficients = take(channels * 12);
  const gamma = values(heap, by.gamma);
  const beta = values(heap, by.beta);
  const out = heap.view(coefficients, channels * 3).fill(0);
  for (let c = 0; c < gamma.length; c++) {
    // y = (x - mean32)*scale + beta, with what mean loses to float32 put into beta.
    const scale = gamma[c]! / Math.sqrt(by.variance[c]! + by.eps);
    out[c] = by.mean[c]!;
    out[channels + c] = scale;
    out[2 * channels + c] = beta[c]! - (by.mean[c]! - out[c]!) * scale;
  }
  heap.norm.normalise(
    ...[heap.address(y), heap.address(x), x.size / channels, channels * 4, coefficients],
  );
  return y;
}

/**
 * With n values per channel, h = (x - mean)/std: dbeta = Σ dy, dgamma = Σ dy h, and
 * dx = gamma/std (dy - dbeta/n - h dgamma/n).
 */
export function batchNormGrad(
  heap: Heap,
  gradient: Tensor4D,
  saved: SavedBatchNorm,
): BatchNormGradients {
  expectShape("the gradient of y", gradient, saved.x.shape);
  const count = channelsOf(saved.x);
  for (const value of [saved.gamma, saved.mean, saved.variance]) {
    expectShape("a batch norm's statistic or weight", value, [count]);
  }
  const dy = channelsByFour(heap, gradient);
  const x = channelsByFour(heap, saved.x);
  const channels = x.shape[3];
  const bytes = channels * 4;
  const rows = x.size / channels;
  const dx = heap.output(x.shape);
  const dgamma = heap.output<Tensor1D>([count]);
  const dbeta = heap.output<Tensor1D>([count]);
  heap.borrow((take) => {
    const block = take(bytes * 2);
    const sums = take(bytes * 4);
    const coefficients = take(bytes * 4);
    const out = heap.view(coefficients, channels * 4).fill(0);
    const totals = heap.doubles(sums, channels * 2).fill(0);
    heap.view(block, channels * 2).fill(0);
    out.set(values(heap, saved.mean));
    for (let row = 0; row < rows; row += BLOCK) {
      heap.norm.gradientSums(
        ...[heap.address(dy) + row * bytes, heap.address(x) + row * bytes],
        ...[Math.min(BLOCK, rows - row), bytes, coefficients, block, sums],
      );
    }
    const gamma = values(heap, saved.gamma);
    const variance = values(heap, saved.variance);
    const toGamma = values(heap, dgamma);
    const toBeta = values(heap, dbeta);
    for (let c = 0; c < count; c++) {
      const inverse = 1 / Math.sqrt(variance[c]! + saved.eps);
      const slope = totals[channels + c]! * inverse;
      toBeta[c] = totals[c]!;
      toGamma[c] = slope;
      out[channels + c] = gamma[c]! * inverse;
      out[2 * channels + c] = totals[c]! / rows;
      out[3 * channels + c] = (slope * inverse) / rows;
    }
    heap.norm.normaliseGrad(
      ...[heap.address(dx), heap.address(dy), heap.address(x), rows, bytes, coefficients],
    );
  });
  return { dx: firstChannels(heap, dx, count), dgamma, dbeta };
}

export function relu(heap: Heap, x: Tensor4D): Tensor4D {
  return wherePositive(heap, x, x);
}

export function reluGrad(heap: Heap, dy: Tensor4D, y: Tensor4D): Tensor4D {
  expectShape("the gradient of y", dy, y.shape);
  return wherePositive(heap, dy, y);
}

function wherePositive(heap: Heap, given: Tensor4D, y: Tensor4D): Tensor4D {
  const out = heap.output(y.shape);
  if (y.size > 0) {
    heap.norm.wherePositive(heap.address(out), heap.address(given), heap.address(y), y.size);
  }
  return out;
}

/** Fails unless there is something to normalise. */
function channelsOf(x: Tensor4D): number {
  if (x.rank !== 4 || x.size === 0) {
    throw new RepkitError("internal", `tfjs:wasm: batch norm of [${x.shape.join(", ")}]`);
  }
  return x.shape[3];
}

/** A tensor's values; stale as soon as anything is allocated. */
function values(heap: Heap, tensor: Tensor): Float32Array {
  return heap.view(heap.address(tensor), tensor.size);
}
