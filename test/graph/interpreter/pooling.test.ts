// Pools against their definitions: which pixels a window holds, and what it divides by.

import { describe, expect, it } from "@jest/globals";

import type { Float64Tensor, Pair, Padding, Scope, Value } from "../../../src/graph/index.js";
import { graphOf, run } from "../../helpers/graphs.js";
import { numbers } from "../../helpers/numbers.js";

interface Window {
  kernel: Pair;
  stride: Pair;
  padding: Padding;
}

const GRID: readonly Window[] = [
  { kernel: [1, 1], stride: [1, 1], padding: [0, 0, 0, 0] },
  { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] },
  { kernel: [3, 3], stride: [2, 2], padding: [1, 1, 1, 1] },
  { kernel: [3, 3], stride: [1, 1], padding: [1, 0, 0, 1] },
  { kernel: [5, 5], stride: [1, 3], padding: [2, 2, 2, 2] },
  { kernel: [3, 1], stride: [1, 2], padding: [1, 1, 0, 0] },
  { kernel: [1, 4], stride: [3, 1], padding: [0, 0, 2, 1] },
  { kernel: [7, 6], stride: [1, 1], padding: [0, 0, 0, 0] },
];

/** Applies `reduce` to the pixels of each window that the image has. */
function defined(x: Float64Tensor, window: Window, reduce: (pixels: number[]) => number) {
  const [batch = 0, channels = 0, height = 0, width = 0] = x.shape;
  const { kernel, stride, padding } = window;
  const [top, bottom, left, right] = padding;
  const data: number[] = [];
  const counted = { rows: 0, columns: 0 };
  for (let plane = 0; plane < batch * channels; plane++) {
    counted.rows = 0;
    for (let r = -top; r + kernel[0] <= height + bottom; r += stride[0]) {
      counted.rows++;
      counted.columns = 0;
      for (let c = -left; c + kernel[1] <= width + right; c += stride[1]) {
        counted.columns++;
        const pixels: number[] = [];
        for (let row = Math.max(r, 0); row < Math.min(r + kernel[0], height); row++) {
          for (let column = Math.max(c, 0); column < Math.min(c + kernel[1], width); column++) {
            pixels.push(x.data[(plane * height + row) * width + column]!);
          }
        }
        data.push(reduce(pixels));
      }
    }
  }
  const shape = [batch, channels, counted.rows, counted.columns];
  return { shape, data: Float64Array.from(data) };
}

const x = numbers("x", [2, 3, 7, 6]);
const pooled = (pool: (scope: Scope, image: Value) => Value) =>
  run(
    graphOf((scope) => pool(scope, scope.input([3, 7, 6]))),
    { images: x },
  ).y;
const sum = (pixels: readonly number[]) => pixels.reduce((total, pixel) => total + pixel, 0);

describe.each(GRID)("kernel $kernel stride $stride padding $padding", (window) => {
  const area = window.kernel[0] * window.kernel[1];

  it("maxPool: the padding never wins", () => {
    expect(pooled((scope, image) => scope.maxPool(image, window))).toBeCloseToTensor(
      defined(x, window, (pixels) => Math.max(...pixels)),
    );
  });

  it("avgPool with countIncludePad: the padding counts as zeros", () => {
    expect(pooled((scope, image) => scope.avgPool(image, window))).toBeCloseToTensor(
      defined(x, window, (pixels) => sum(pixels) / area),
      { absolute: 1e-15 },
    );
  });

  it("avgPool without: the padding does not count", () => {
    const options = { ...window, countIncludePad: false };
    expect(pooled((scope, image) => scope.avgPool(image, options))).toBeCloseToTensor(
      defined(x, window, (pixels) => sum(pixels) / pixels.length),
      { absolute: 1e-15 },
    );
  });
});

describe("by hand, 2x2 image 1 -2 / -3 -4, kernel 2, stride 1, padding 1", () => {
  const image = { shape: [1, 1, 2, 2], data: Float64Array.of(1, -2, -3, -4) };
  const window = { kernel: 2, stride: 1, padding: 1 };
  const pool = (build: (scope: Scope, image: Value) => Value) =>
    run(
      graphOf((scope) => build(scope, scope.input([1, 2, 2]))),
      { images: image },
    ).y;

  it("maxPool of negative pixels at the border is negative", () => {
    expect([...pool((scope, image) => scope.maxPool(image, window)).data]).toEqual([
      ...[1, 1, -2],
      ...[1, 1, -2],
      ...[-3, -3, -4],
    ]);
  });

  it("avgPool divides by 4, or by the pixels there are", () => {
    expect([...pool((scope, image) => scope.avgPool(image, window)).data]).toEqual([
      ...[0.25, -0.25, -0.5],
      ...[-0.5, -2, -1.5],
      ...[-0.75, -1.75, -1],
    ]);
    const excluding = { ...window, countIncludePad: false };
    expect([...pool((scope, image) => scope.avgPool(image, excluding)).data]).toEqual([
      ...[1, -0.5, -2],
      ...[-1, -2, -3],
      ...[-3, -3.5, -4],
    ]);
  });

  it("globalAvgPool is the mean of each plane", () => {
    const graph = graphOf((scope) => scope.globalAvgPool(scope.input([2, 1, 3])));
    const data = Float64Array.of(1, 2, 6, 0, 0, 3, -1, 1, 0, 4, 4, 4);
    expect(run(graph, { images: { shape: [2, 2, 1, 3], data } }).y).toEqual({
      shape: [2, 2, 1, 1],
      data: Float64Array.of(3, 1, 0, 4),
    });
  });
});
