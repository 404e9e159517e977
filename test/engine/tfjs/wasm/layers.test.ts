// The WebAssembly backend's layers against plain loops in float64. Each result may be off by its number of
// roundings times u = 2^-24 of the sum of its terms' sizes: the bound for any order of summation.

import { beforeAll, describe, expect, it } from "@jest/globals";
import type { Rank, Tensor } from "@tensorflow/tfjs-core";

import type {
  ConvWindow,
  Layers,
  PoolWindow,
  Shape4,
  Tf,
} from "../../../../src/engine/tfjs/backend.js";
import { loadWasmBackend } from "../../../../src/engine/tfjs/wasm/index.js";
import { randomStream } from "../../../../src/util/random.js";
import { averages, convolution, maxima, outputShape, type Sums } from "./reference.js";

const U = 2 ** -24;

let tf: Tf;
let layers: Layers;

beforeAll(async () => {
  const backend = await loadWasmBackend();
  tf = backend.tf;
  layers = backend.layers as Layers;
});

/** Numbers between -1 and 1, exact in float32. */
function numbers(name: string, shape: readonly number[]): Float32Array {
  const random = randomStream(1, name);
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 2 * random() - 1);
}

/** Runs in a tidy and returns plain numbers; expects no tensor to be left behind. */
function run(compute: () => Record<string, Tensor>): Record<string, Float32Array> {
  const before = tf.memory();
  const results = tf.tidy(() =>
    Object.entries(compute()).map(([name, t]) => [name, t.dataSync<"float32">().slice()] as const),
  );
  const after = tf.memory();
  expect([after.numTensors, after.numDataBuffers]).toEqual([
    before.numTensors,
    before.numDataBuffers,
  ]);
  return Object.fromEntries(results);
}

/** The largest error in units of u of the terms' sizes. */
function worst(found: ArrayLike<number>, { values, sizes }: Sums): number {
  expect(found.length).toBe(values.length);
  return values.reduce((most, value, at) => {
    const error = Math.abs(found[at]! - value);
    if (error === 0) return most;
    return Number.isNaN(error) ? Infinity : Math.max(most, error / (sizes[at]! * U));
  }, 0);
}

const plain: ConvWindow = {
  kernel: [3, 3],
  stride: [1, 1],
  padding: [1, 1, 1, 1],
  dilation: [1, 1],
  groups: 1,
};

describe("convolution and its gradients", () => {
  it.each<[string, Shape4, number, Partial<ConvWindow>]>([
    ["3x3", [2, 7, 9, 8], 16, {}],
    ["3x3, odd channels", [3, 6, 5, 5], 11, {}],
    ["3x3, stride 2", [2, 9, 8, 4], 12, { stride: [2, 2] }],
    ["1x1", [2, 5, 5, 12], 20, { kernel: [1, 1], padding: [0, 0, 0, 0] }],
    [
      "1x1, stride 2: pixels without gradient",
      [2, 6, 7, 3],
      9,
      { kernel: [1, 1], padding: [0, 0, 0, 0], stride: [2, 2] },
    ],
    [
      "7x7, stride 2, 3 channels",
      [1, 19, 17, 3],
      8,
      { kernel: [7, 7], stride: [2, 2], padding: [3, 3, 3, 3] },
    ],
    ["asymmetric padding", [2, 5, 6, 4], 8, { padding: [2, 0, 1, 3], kernel: [3, 2] }],
    [
      "dilation, unequal strides",
      [1, 12, 11, 6],
      7,
      { dilation: [2, 3], stride: [3, 2], padding: [2, 1, 3, 3] },
    ],
    ["stride and dilation share a factor", [1, 9, 9, 4], 8, { dilation: [2, 2], stride: [2, 2] }],
    ["stride above the kernel", [2, 11, 10, 4], 8, { kernel: [2, 2], stride: [4, 3] }],
    ["rows that no window reaches", [1, 8, 8, 4], 8, { stride: [3, 3], padding: [0, 0, 0, 0] }],
    ["groups", [2, 6, 6, 12], 24, { groups: 3 }],
    ["groups of odd size", [2, 5, 6, 6], 10, { groups: 2, stride: [2, 1] }],
    ["groups of one input", [1, 6, 6, 4], 12, { groups: 4 }],
    ["depthwise", [2, 7, 6, 8], 8, { groups: 8 }],
    [
      "depthwise, odd channels, dilation",
      [2, 9, 8, 7],
      7,
      { groups: 7, dilation: [2, 1], padding: [1, 2, 0, 1] },
    ],
    [
      "depthwise, stride 2",
      [1, 8, 7, 5],
      5,
      { groups: 5, stride: [2, 2], kernel: [5, 5], padding: [2, 2, 2, 2] },
    ],
    ["more pixels than a block, not by 4", [3, 17, 13, 4], 8, {}],
    ["one pixel", [1, 1, 1, 4], 8, {}],
  ])("%s", (_, shape, outputs, options) => {
    const window = { ...plain, ...options };
    const kernelShape: Shape4 = [...window.kernel, shape[3] / window.groups, outputs] as never;
    const yShape = outputShape(window, shape, outputs);
    const x = numbers("x", shape);
    const kernel = numbers("kernel", kernelShape);
    const dy = numbers("dy", yShape);
    const expected = convolution(window, shape, kernelShape, { x, kernel, dy });
    const found = run(() => {
      const [tx, tk, tdy] = [
        tf.tensor4d(x, shape),
        tf.tensor4d(kernel, kernelShape),
        tf.tensor4d(dy, yShape),
      ];
      return {
        y: layers.conv2d(tx, tk, window),
        dx: layers.conv2dGradX(tdy, tk, shape, window),
        dkernel: layers.conv2dGradKernel(tx, tdy, kernelShape, window),
      };
    });
    const area = window.kernel[0] * window.kernel[1];
    const pixels = yShape[0] * yShape[1] * yShape[2];
    expect(worst(found.y!, expected.y)).toBeLessThan(area * kernelShape[2] + 1);
    expect(worst(found.dx!, expected.dx)).toBeLessThan((area * outputs) / window.groups + 1);
    expect(worst(found.dkernel!, expected.dkernel)).toBeLessThan(pixels + 1);
  });

  // 0.1 added up 2^16 times in one float32 is wrong by 3e-4: each sum is rounded the same way.
  it("sums many pixels in blocks", () => {
    const shape: Shape4 = [1, 256, 256, 4];
    const window = { ...plain, kernel: [1, 1], padding: [0, 0, 0, 0] } as const;
    const { dense, channels } = run(() => {
      const x = tf.fill<Rank.R4>(shape, 0.1);
      const ones = tf.ones<Rank.R4>(shape);
      const depthwise = { ...window, groups: 4 };
      return {
        dense: layers.conv2dGradKernel(x, ones, [1, 1, 4, 4], window),
        channels: layers.conv2dGradKernel(x, ones, [1, 1, 1, 4], depthwise),
      };
    });
    const exact = Math.fround(0.1) * 256 * 256;
    for (const value of [...dense!, ...channels!]) {
      expect(Math.abs(value / exact - 1)).toBeLessThan(256 * U);
    }
  });
});

const pools: [string, Shape4, PoolWindow][] = [
  ["3x3, stride 2", [2, 9, 8, 8], { kernel: [3, 3], stride: [2, 2], padding: [1, 1, 1, 1] }],
  ["overlapping", [2, 6, 7, 4], { kernel: [3, 3], stride: [1, 1], padding: [1, 1, 1, 1] }],
  [
    "unequal, odd channels",
    [2, 7, 9, 5],
    { kernel: [2, 3], stride: [1, 2], padding: [1, 0, 0, 2] },
  ],
  ["without padding", [1, 6, 6, 4], { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] }],
];

describe("pooling and its gradients", () => {
  it.each(pools)("max, %s", (_, shape, window) => {
    const yShape = outputShape(window, shape, shape[3]);
    // Few different values, so that there are ties.
    const x = numbers("x", shape).map((value) => Math.round(value * 3) + 0); // no -0
    const dy = numbers("dy", yShape);
    const expected = maxima(window, shape, { x, dy });
    const found = run(() => {
      const tx = tf.tensor4d(x, shape);
      const y = layers.maxPool(tx, window);
      return { y, dx: layers.maxPoolGrad(tf.tensor4d(dy, yShape), tx, y, window) };
    });
    expect([...found.y!]).toEqual([...expected.y]);
    expect(worst(found.dx!, expected.dx)).toBeLessThan(9);
  });

  it("hands NaN on", () => {
    const { y } = run(() => {
      const x = tf.tensor4d([1, NaN, 3, 4], [1, 2, 2, 1]);
      return { y: layers.maxPool(x, { kernel: [2, 2], stride: [1, 1], padding: [0, 0, 0, 0] }) };
    });
    expect([...y!]).toEqual([NaN]);
  });

  it.each(
    pools.flatMap(([name, shape, window]) =>
      [true, false].map((counted) => [name, counted, shape, window] as const),
    ),
  )("average, %s, padding counted: %s", (_, countIncludePad, shape, window) => {
    const yShape = outputShape(window, shape, shape[3]);
    const x = numbers("x", shape);
    const dy = numbers("dy", yShape);
    const expected = averages(window, countIncludePad, shape, { x, dy });
    const found = run(() => ({
      y: layers.avgPool(tf.tensor4d(x, shape), { ...window, countIncludePad }),
      dx: layers.avgPoolGrad(tf.tensor4d(dy, yShape), shape, { ...window, countIncludePad }),
    }));
    expect(worst(found.y!, expected.y)).toBeLessThan(12);
    expect(worst(found.dx!, expected.dx)).toBeLessThan(12);
  });
});

describe("batch norm", () => {
  const eps = 1e-5;

  /** In float64, per channel. */
  function normalised(
    shape: Shape4,
    { x, dy, gamma, beta }: Readonly<Record<"x" | "dy" | "gamma" | "beta", Float32Array>>,
  ) {
    const channels = shape[3];
    const count = x.length / channels;
    const mean = new Float64Array(channels);
    const variance = new Float64Array(channels);
    const dgamma = new Float64Array(channels);
    const dbeta = new Float64Array(channels);
    x.forEach((value, at) => (mean[at % channels]! += value / count));
    x.forEach(
      (value, at) => (variance[at % channels]! += (value - mean[at % channels]!) ** 2 / count),
    );
    const std = variance.map((value) => Math.sqrt(value + eps));
    const hat = Float64Array.from(x, (v, at) => (v - mean[at % channels]!) / std[at % channels]!);
    dy.forEach((value, at) => {
      dbeta[at % channels]! += value;
      dgamma[at % channels]! += value * hat[at]!;
    });
    const y = hat.map((value, at) => value * gamma[at % channels]! + beta[at % channels]!);
    const dx = hat.map((value, at) => {
      const c = at % channels;
      return (gamma[c]! / std[c]!) * (dy[at]! - dbeta[c]! / count - (value * dgamma[c]!) / count);
    });
    return { y, mean, variance, dx, dgamma, dbeta };
  }

  const distance = (found: ArrayLike<number>, expected: Float64Array) =>
    expected.reduce((most, value, at) => Math.max(most, Math.abs(found[at]! - value)), 0);

  it.each<[Shape4, number]>([
    [[2, 5, 7, 8], 0],
    [[3, 3, 3, 5], 0],
    [[1, 300, 7, 4], 0],
    [[2, 5, 7, 8], 100],
    [[1, 1, 1, 4], 0],
  ])("of %j around %d, and its gradient", (shape, offset) => {
    const channels = shape[3];
    const data = {
      x: numbers("x", shape).map((value) => value + offset),
      dy: numbers("dy", shape),
      gamma: numbers("gamma", [channels]),
      beta: numbers("beta", [channels]),
    };
    const expected = normalised(shape, data);
    const found = run(() => {
      const [x, dy] = [tf.tensor4d(data.x, shape), tf.tensor4d(data.dy, shape)];
      const [gamma, beta] = [tf.tensor1d(data.gamma), tf.tensor1d(data.beta)];
      const { y, mean, variance } = layers.batchNorm(x, gamma, beta, eps);
      const gradients = layers.batchNormGrad(dy, { x, gamma, mean, variance, eps });
      const inferred = layers.batchNormInfer(x, { mean, variance, eps }, gamma, beta);
      return { y, mean, variance, inferred, ...gradients };
    });
    // Statistics are rounded once; x - mean is off by what the mean's rounding is.
    const count = data.x.length / channels;
    const shift = 4 * U * (1 + offset);
    expect(distance(found.mean!, expected.mean)).toBeLessThan(shift);
    expect(distance(found.variance!, expected.variance)).toBeLessThan(40 * U);
    expect(distance(found.y!, expected.y)).toBeLessThan(40 * U);
    const gain = count === 1 ? 1 / Math.sqrt(eps) : 3;
    expect(distance(found.inferred!, expected.y)).toBeLessThan(40 * U + gain * shift);
    expect(distance(found.dbeta!, expected.dbeta)).toBeLessThan(Math.min(count, 140) * U * 8);
    expect(distance(found.dgamma!, expected.dgamma)).toBeLessThan(count * (16 * U + gain * shift));
    expect(distance(found.dx!, expected.dx)).toBeLessThan(gain * (40 * U + gain * shift));
  });

  // A running float32 sum is off by 1e-3 there (docs/engines.md, "Traps").
  it("sums many pixels in blocks", () => {
    const shape: Shape4 = [2, 128, 128, 4];
    const x = numbers("x", shape).map((value) => Math.max(0, value));
    const one = new Float32Array(4).fill(1);
    const data = { x, dy: new Float32Array(x.length).fill(0.1), gamma: one, beta: one };
    const expected = normalised(shape, data);
    const found = run(() => {
      const [tx, gamma] = [tf.tensor4d(x, shape), tf.tensor1d(one)];
      const { y, mean, variance } = layers.batchNorm(tx, gamma, gamma, eps);
      const dy = tf.tensor4d(data.dy, shape);
      const { dbeta } = layers.batchNormGrad(dy, { x: tx, gamma, mean, variance, eps });
      return { y, mean, variance, dbeta };
    });
    expect(distance(found.mean!, expected.mean)).toBeLessThan(2 * U);
    expect(distance(found.variance!, expected.variance)).toBeLessThan(8 * U);
    expect(distance(found.y!, expected.y)).toBeLessThan(40 * U);
    expect(distance(found.dbeta!, expected.dbeta) / expected.dbeta[0]!).toBeLessThan(64 * U);
  });

  it("is not finite where its input is not", () => {
    const { y } = run(() => {
      const one = tf.ones<Rank.R1>([1]);
      return { y: layers.batchNorm(tf.tensor4d([1, NaN], [1, 1, 2, 1]), one, one, eps).y };
    });
    expect([...y!]).toEqual([NaN, NaN]);
  });
});

it.each([1, 3, 4, 30])("ReLU of %d numbers and its gradient", (count) => {
  const x = numbers("x", [count]);
  x[0] = NaN;
  const dy = numbers("dy", [count]);
  const found = run(() => {
    const shape: Shape4 = [1, 1, 1, count];
    const y = layers.relu(tf.tensor4d(x, shape));
    return { y, dx: layers.reluGrad(tf.tensor4d(dy, shape), y) };
  });
  expect([...found.y!]).toEqual([...x].map((value) => (value <= 0 ? 0 : value)));
  expect([...found.dx!]).toEqual([...dy].map((value, at) => (x[at]! <= 0 ? 0 : value)));
});

describe("arguments that do not fit", () => {
  const zeros = (shape: Shape4) => tf.zeros<Rank.R4>(shape);
  const refused: [string, () => unknown][] = [
    [
      "kernel of other channels",
      () => layers.conv2d(zeros([1, 4, 4, 4]), zeros([3, 3, 5, 8]), plain),
    ],
    ["kernel of other size", () => layers.conv2d(zeros([1, 4, 4, 4]), zeros([1, 1, 4, 8]), plain)],
    [
      "window above the image",
      () => layers.conv2d(zeros([1, 0, 4, 4]), zeros([3, 3, 4, 8]), plain),
    ],
    [
      "groups that do not divide",
      () => layers.conv2d(zeros([1, 4, 4, 4]), zeros([3, 3, 2, 9]), { ...plain, groups: 2 }),
    ],
    [
      "negative padding",
      () =>
        layers.conv2d(zeros([1, 9, 9, 4]), zeros([3, 3, 4, 8]), {
          ...plain,
          padding: [-1, 0, 0, 0],
        }),
    ],
    [
      "stride 0",
      () => layers.conv2d(zeros([1, 9, 9, 4]), zeros([3, 3, 4, 8]), { ...plain, stride: [0, 1] }),
    ],
    [
      "gradient of another size",
      () => layers.conv2dGradX(zeros([1, 4, 5, 8]), zeros([3, 3, 4, 8]), [1, 4, 4, 4], plain),
    ],
    [
      "gradient of another batch",
      () => layers.conv2dGradKernel(zeros([2, 4, 4, 4]), zeros([1, 4, 4, 8]), [3, 3, 4, 8], plain),
    ],
    [
      "batch norm of other channels",
      () => layers.batchNorm(zeros([1, 2, 2, 4]), tf.ones([3]), tf.ones([3]), 1e-5),
    ],
    [
      "batch norm of nothing",
      () => layers.batchNorm(zeros([0, 2, 2, 4]), tf.ones([4]), tf.ones([4]), 1e-5),
    ],
    ["gradient of another ReLU", () => layers.reluGrad(zeros([1, 1, 1, 3]), zeros([1, 1, 1, 4]))],
    ["integers", () => layers.relu(tf.zeros<Rank.R4>([1, 1, 1, 4], "int32"))],
    [
      "pooled image of another size",
      () =>
        layers.maxPoolGrad(zeros([1, 2, 2, 4]), zeros([1, 4, 4, 4]), zeros([1, 3, 2, 4]), {
          ...{ kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] },
        }),
    ],
  ];

  it.each(refused)("%s", (_, call) => {
    expect(() => tf.tidy(() => void call())).toThrow(/^(tfjs:wasm|a kernel of tfjs:wasm)/);
  });
});
