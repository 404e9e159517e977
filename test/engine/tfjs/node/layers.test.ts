// TensorFlow's kernels against sums in float64 over the same numbers. A float32 sum of n products differs
// from the exact one by at most (n + 1) 2^-24 times the sum of their magnitudes, in any order.

import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";

import type {
  AvgPoolWindow,
  ConvWindow,
  Layers,
  Shape4,
  Tf,
} from "../../../../src/engine/tfjs/backend.js";
import { loadNodeBackend } from "../../../../src/engine/tfjs/node/index.js";
import type { Padding } from "../../../../src/graph/index.js";
import { randomStream } from "../../../../src/util/random.js";
import { withTfjsNode } from "../../../helpers/tfjs-node.js";

const ULP = 2 ** -24;

/** Sums by place, with the sums of magnitudes and the numbers of terms that bound their rounding. */
class Sums {
  readonly values: Float64Array;
  readonly magnitudes: Float64Array;
  readonly terms: Float64Array;

  constructor(size: number) {
    this.values = new Float64Array(size);
    this.magnitudes = new Float64Array(size);
    this.terms = new Float64Array(size);
  }

  add(place: number, term: number): void {
    this.values[place]! += term;
    this.magnitudes[place]! += Math.abs(term);
    this.terms[place]! += 1;
  }

  /** The largest difference as a multiple of what rounding explains. */
  worst(actual: ArrayLike<number>): number {
    expect(actual.length).toBe(this.values.length);
    let worst = 0;
    this.values.forEach((value, i) => {
      const allowed = (this.terms[i]! + 1) * ULP * this.magnitudes[i]! + 2 ** -126;
      worst = Math.max(worst, Math.abs(actual[i]! - value) / allowed);
    });
    return worst;
  }
}

withTfjsNode("the layers of tfjs-node", () => {
  let tf: Tf;
  let layers: Layers;
  beforeAll(async () => {
    const backend = await loadNodeBackend("node");
    tf = backend.tf;
    layers = backend.layers as Layers;
    tf.engine().startScope();
  }, 60_000);
  afterAll(() => {
    tf.engine().endScope();
  });

  const random = randomStream(7, "layers");
  const numbers = (size: number) => Float32Array.from({ length: size }, () => random() * 2 - 1);
  const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
  const tensor = (shape: Shape4, data = numbers(size(shape))) => ({
    ...{ shape, data },
    tensor: tf.tensor4d(data, shape),
  });

  /** Calls `visit` with the places in x, kernel and y of every product of a convolution. */
  function eachProduct(
    [count, height, width, channels]: Shape4,
    [kernelHeight, kernelWidth, inner, outer]: Shape4,
    { stride, padding, dilation, groups }: ConvWindow,
    visit: (x: number, kernel: number, y: number) => void,
  ): Shape4 {
    const [top, bottom, left, right] = padding;
    const outHeight =
      Math.floor((height + top + bottom - dilation[0] * (kernelHeight - 1) - 1) / stride[0]) + 1;
    const outWidth =
      Math.floor((width + left + right - dilation[1] * (kernelWidth - 1) - 1) / stride[1]) + 1;
    for (let n = 0; n < count; n++)
      for (let i = 0; i < outHeight; i++)
        for (let j = 0; j < outWidth; j++)
          for (let o = 0; o < outer; o++)
            for (let a = 0; a < kernelHeight; a++)
              for (let b = 0; b < kernelWidth; b++) {
                const row = i * stride[0] + a * dilation[0] - top;
                const column = j * stride[1] + b * dilation[1] - left;
                if (row < 0 || row >= height || column < 0 || column >= width) continue;
                const first = Math.floor(o / (outer / groups)) * inner;
                for (let c = 0; c < inner; c++) {
                  visit(
                    ((n * height + row) * width + column) * channels + first + c,
                    ((a * kernelWidth + b) * inner + c) * outer + o,
                    ((n * outHeight + i) * outWidth + j) * outer + o,
                  );
                }
              }
    return [count, outHeight, outWidth, outer];
  }

  const window: ConvWindow = {
    ...{ kernel: [3, 3], stride: [1, 1], padding: [1, 1, 1, 1] },
    ...{ dilation: [1, 1], groups: 1 },
  };
  const cases: [string, Shape4, Shape4, ConvWindow][] = [
    ["padded", [2, 7, 6, 3], [3, 3, 3, 5], window],
    ["1x1", [2, 5, 5, 4], [1, 1, 4, 3], { ...window, kernel: [1, 1], padding: [0, 0, 0, 0] }],
    ["strided", [2, 9, 8, 3], [3, 3, 3, 4], { ...window, stride: [2, 2] }],
    ["strides that differ", [2, 9, 8, 3], [3, 3, 3, 4], { ...window, stride: [2, 1] }],
    ["paddings that differ", [2, 6, 6, 3], [3, 3, 3, 2], { ...window, padding: [2, 0, 1, 3] }],
    ["1x3", [1, 6, 6, 3], [1, 3, 3, 2], { ...window, kernel: [1, 3], padding: [0, 0, 1, 1] }],
    ["dilated", [2, 9, 9, 3], [3, 3, 3, 2], { ...window, dilation: [2, 2], padding: [2, 2, 2, 2] }],
    [
      "dilated and strided",
      [1, 9, 9, 3],
      [3, 3, 3, 2],
      { ...window, dilation: [2, 3], stride: [2, 2] },
    ],
    ["grouped", [2, 6, 6, 6], [3, 3, 2, 9], { ...window, groups: 3 }],
    ["grouped and strided", [2, 7, 7, 4], [3, 3, 2, 6], { ...window, groups: 2, stride: [2, 2] }],
    ["grouped and dilated", [1, 7, 7, 4], [3, 3, 2, 4], { ...window, groups: 2, dilation: [2, 2] }],
    ["depthwise", [2, 6, 6, 4], [3, 3, 1, 4], { ...window, groups: 4 }],
    ["depthwise, two each", [2, 6, 6, 4], [3, 3, 1, 8], { ...window, groups: 4, stride: [2, 2] }],
    [
      "depthwise and dilated",
      [1, 7, 7, 3],
      [3, 3, 1, 3],
      { ...window, groups: 3, dilation: [2, 2] },
    ],
    [
      "depthwise, strides that differ",
      [1, 7, 7, 3],
      [3, 3, 1, 3],
      { ...window, groups: 3, stride: [2, 1] },
    ],
    [
      "depthwise, paddings that differ",
      [1, 6, 6, 3],
      [3, 3, 1, 3],
      { ...window, groups: 3, padding: [0, 2, 1, 0] },
    ],
  ];
  test.each(cases)("convolution, %s", (_name, xShape, kernelShape, window) => {
    const x = tensor(xShape);
    const kernel = tensor(kernelShape);
    const yShape = eachProduct(xShape, kernelShape, window, () => undefined);
    const dy = tensor(yShape);
    const sums = {
      y: new Sums(size(yShape)),
      x: new Sums(size(xShape)),
      k: new Sums(size(kernelShape)),
    };
    eachProduct(xShape, kernelShape, window, (i, k, o) => {
      sums.y.add(o, x.data[i]! * kernel.data[k]!);
      sums.x.add(i, dy.data[o]! * kernel.data[k]!);
      sums.k.add(k, dy.data[o]! * x.data[i]!);
    });
    const y = layers.conv2d(x.tensor, kernel.tensor, window);
    const dx = layers.conv2dGradX(dy.tensor, kernel.tensor, xShape, window);
    const dk = layers.conv2dGradKernel(x.tensor, dy.tensor, kernelShape, window);
    expect([y.shape, dx.shape, dk.shape]).toEqual([yShape, xShape, kernelShape]);
    expect(sums.y.worst(y.dataSync())).toBeLessThan(1);
    expect(sums.x.worst(dx.dataSync())).toBeLessThan(1);
    expect(sums.k.worst(dk.dataSync())).toBeLessThan(1);
  });

  test.each([
    ["a batch", [4, 5, 6, 3]],
    ["one place per image", [6, 1, 1, 5]],
  ] as [string, Shape4][])("batch norm of %s", (_name, shape) => {
    const eps = 1e-5;
    const x = tensor(shape);
    const dy = tensor(shape);
    const channels = shape[3];
    const gamma = numbers(channels).map((v) => v + 2);
    const beta = numbers(channels);
    const count = size(shape) / channels;
    const column = (data: Float32Array, c: number) =>
      Float64Array.from({ length: count }, (_, i) => data[i * channels + c]!);
    const mean = (values: Float64Array) => values.reduce((a, b) => a + b, 0) / values.length;
    const [g, b] = [tf.tensor1d(gamma), tf.tensor1d(beta)];
    const normalised = layers.batchNorm(x.tensor, g, b, eps);
    const { y, mean: means, variance } = normalised;
    const gradients = layers.batchNormGrad(dy.tensor, {
      ...{ x: x.tensor, gamma: g, mean: means, variance, eps },
    });
    const inferred = layers.batchNormInfer(x.tensor, { mean: means, variance, eps }, g, b);
    const data = (t: Tensor4D | Tensor1D) => t.dataSync<"float32">();
    for (let c = 0; c < channels; c++) {
      const xs = column(x.data, c);
      const m = mean(xs);
      const v = mean(xs.map((value) => (value - m) ** 2));
      const scale = 1 / Math.sqrt(v + eps);
      const hats = xs.map((value) => (value - m) * scale);
      const dys = column(dy.data, c);
      const dbeta = dys.reduce((a, d) => a + d, 0);
      const dgamma = dys.reduce((a, d, i) => a + d * hats[i]!, 0);
      const dxs = dys.map(
        (d, i) => gamma[c]! * scale * (d - dbeta / count - (hats[i]! * dgamma) / count),
      );
      // All values are of order one to ten; sums have `count` terms.
      const near = 8 * count * ULP;
      expect(Math.abs(data(means)[c]! - m)).toBeLessThan(near);
      expect(Math.abs(data(variance)[c]! - v)).toBeLessThan(near);
      expect(Math.abs(data(gradients.dbeta)[c]! - dbeta)).toBeLessThan(near);
      expect(Math.abs(data(gradients.dgamma)[c]! - dgamma)).toBeLessThan(4 * near);
      for (let i = 0; i < count; i++) {
        const expected = hats[i]! * gamma[c]! + beta[c]!;
        expect(Math.abs(data(y)[i * channels + c]! - expected)).toBeLessThan(8 * near);
        expect(Math.abs(data(inferred)[i * channels + c]! - expected)).toBeLessThan(8 * near);
        expect(Math.abs(data(gradients.dx)[i * channels + c]! - dxs[i]!)).toBeLessThan(16 * near);
      }
    }
  });

  const pools: [string, Shape4, AvgPoolWindow][] = [
    ["2x2", [2, 6, 6, 3], pool([2, 2], [2, 2], [0, 0, 0, 0], true)],
    ["3x3, padded", [2, 7, 6, 3], pool([3, 3], [2, 2], [1, 1, 1, 1], true)],
    ["3x3, padded, of what is inside", [2, 7, 6, 3], pool([3, 3], [1, 1], [1, 1, 1, 1], false)],
    ["paddings and strides that differ", [1, 7, 6, 2], pool([3, 2], [2, 1], [1, 0, 0, 1], false)],
  ];
  function pool(
    kernel: [number, number],
    stride: [number, number],
    padding: Padding,
    countIncludePad: boolean,
  ): AvgPoolWindow {
    return { kernel, stride, padding, countIncludePad };
  }
  test.each(pools)("pooling, %s", (_name, shape, window) => {
    const x = tensor(shape);
    const channels = shape[3];
    // A depthwise convolution visits the same places.
    const kernelShape: Shape4 = [...window.kernel, 1, channels];
    const depthwise: ConvWindow = { ...window, dilation: [1, 1], groups: channels };
    const places: number[][] = [];
    const yShape = eachProduct(shape, kernelShape, depthwise, (i, _k, o) => {
      (places[o] ??= []).push(i);
    });
    const dy = tensor(yShape);
    const area = window.kernel[0] * window.kernel[1];
    const average = { y: new Sums(size(yShape)), x: new Sums(size(shape)) };
    const most = new Float32Array(size(yShape));
    const dMost = new Sums(size(shape));
    places.forEach((inside, o) => {
      const divisor = window.countIncludePad ? area : inside.length;
      for (const i of inside) {
        average.y.add(o, x.data[i]! / divisor);
        average.x.add(i, dy.data[o]! / divisor);
      }
      const best = inside.reduce((a, b) => (x.data[b]! > x.data[a]! ? b : a));
      most[o] = x.data[best]!;
      dMost.add(best, dy.data[o]!);
    });
    const averaged = layers.avgPool(x.tensor, window);
    expect(averaged.shape).toEqual(yShape);
    // The division by the share inside rounds twice more than the sum.
    expect(average.y.worst(averaged.dataSync())).toBeLessThan(2);
    const dAveraged = layers.avgPoolGrad(dy.tensor, shape, window);
    expect(dAveraged.shape).toEqual(shape);
    expect(average.x.worst(dAveraged.dataSync())).toBeLessThan(2);
    const maximum = layers.maxPool(x.tensor, window);
    expect([...maximum.dataSync()]).toEqual([...most]);
    const dMaximum = layers.maxPoolGrad(dy.tensor, x.tensor, maximum, window);
    expect(dMost.worst(dMaximum.dataSync())).toBeLessThan(1);
  });

  test("of equal maxima the first takes the gradient, as in PyTorch", () => {
    const x = tf.tensor4d([1, 1, 1, 1], [1, 2, 2, 1]);
    const window = { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] } as const;
    const y = layers.maxPool(x, window);
    const dx = layers.maxPoolGrad(tf.onesLike(y), x, y, window);
    expect([...dx.dataSync()]).toEqual([1, 0, 0, 0]);
  });

  test("relu", () => {
    const x = tf.tensor4d([-1, 0, 2, -3], [1, 2, 2, 1]);
    const y = layers.relu(x);
    expect([...y.dataSync()]).toEqual([0, 0, 2, 0]);
    const dx = layers.reluGrad(tf.tensor4d([1, 2, 3, 4], [1, 2, 2, 1]), y);
    expect([...dx.dataSync()]).toEqual([0, 0, 3, 0]);
  });
});
