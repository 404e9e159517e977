/** Max and average pooling and their gradients (window.wat). */
import type { Tensor4D } from "@tensorflow/tfjs-core";

import type { AvgPoolWindow, PoolWindow, Shape4 } from "../backend.js";
import * as depthwise from "./depthwise.js";
import { channelsByFour, firstChannels } from "./depthwise.js";
import { area, checkedOutput, cropped, expectShape, padded, tapsOf } from "./geometry.js";
import type { Area, Window } from "./geometry.js";
import type { Heap } from "./heap.js";
import { integers, tapBytes, windowTable } from "./table.js";

const undilated = (window: PoolWindow): Window => ({ ...window, dilation: [1, 1] });

export function maxPool(heap: Heap, image: Tensor4D, pool: PoolWindow): Tensor4D {
  const window = undilated(pool);
  const shape = checkedOutput(window, image.shape, image.shape[3]);
  const x = channelsByFour(heap, image);
  const channels = x.shape[3];
  const y = heap.output([shape[0], shape[1], shape[2], channels]);
  heap.borrow((take) => {
    const from = padded(heap, take, area(heap, x), window.padding, { value: -Infinity });
    const taps = tapsOf(window).map((tap) => tapBytes(tap, from));
    const offsets = integers(heap, take, taps);
    const table = windowTable(heap, take, window, from, area(heap, y));
    heap.window.maxPool(table.address, table.count, offsets, taps.length, channels * 4);
  });
  return firstChannels(heap, y, image.shape[3]);
}

/** The gradient goes to the first of equal maxima, as in PyTorch. */
export function maxPoolGrad(
  heap: Heap,
  gradient: Tensor4D,
  image: Tensor4D,
  output: Tensor4D,
  pool: PoolWindow,
): Tensor4D {
  const window = undilated(pool);
  const shape = checkedOutput(window, image.shape, image.shape[3]);
  expectShape("the pooled image", output, shape);
  expectShape("its gradient", gradient, shape);
  const [x, y, dy] = [image, output, gradient].map((t) => channelsByFour(heap, t)) as [
    Tensor4D,
    Tensor4D,
    Tensor4D,
  ];
  const channels = x.shape[3];
  const dx = heap.output(x.shape);
  heap.borrow((take) => {
    const from = padded(heap, take, area(heap, x), window.padding, { value: -Infinity });
    const target = area(heap, dx);
    const direct = from.rows === target.rows && from.columns === target.columns;
    const size = from.images * from.rows * from.columns * channels;
    const sums: Area = { ...from, address: direct ? target.address : take(size * 4) };
    const taps = tapsOf(window).map((tap) => tapBytes(tap, from));
    const offsets = integers(heap, take, taps);
    const table = windowTable(heap, take, window, from, area(heap, y));
    heap.view(sums.address, size).fill(0);
    heap.window.maxPoolGrad(
      ...[table.address, table.count, offsets, taps.length, channels * 4],
      ...[sums.address - from.address, heap.address(dy) - heap.address(y)],
    );
    if (!direct) cropped(heap, sums, window.padding, target);
  });
  return firstChannels(heap, dx, image.shape[3]);
}

/** A depthwise convolution whose weights are all the same. */
export function avgPool(heap: Heap, x: Tensor4D, pool: AvgPoolWindow): Tensor4D {
  const window = undilated(pool);
  const shape = checkedOutput(window, x.shape, x.shape[3]);
  const y = depthwise.forward(heap, x, equalWeights(heap, pool, x.shape[3]), window, shape);
  return pool.countIncludePad ? y : scaled(heap, y, pool, x.shape);
}

export function avgPoolGrad(
  heap: Heap,
  gradient: Tensor4D,
  shape: Shape4,
  pool: AvgPoolWindow,
): Tensor4D {
  const window = undilated(pool);
  expectShape("the gradient of y", gradient, checkedOutput(window, shape, shape[3]));
  const dy = pool.countIncludePad ? gradient : scaled(heap, gradient, pool, shape);
  return depthwise.gradX(heap, dy, equalWeights(heap, pool, shape[3]), window, shape);
}

function equalWeights(heap: Heap, pool: AvgPoolWindow, channels: number): Tensor4D {
  const [height, width] = pool.kernel;
  const weight = pool.countIncludePad ? 1 / (height * width) : 1;
  return heap.tf.fill([height, width, 1, channels], weight);
}

/** Each pixel divided by the number of the image's pixels in its window. */
function scaled(heap: Heap, y: Tensor4D, pool: AvgPoolWindow, input: readonly number[]): Tensor4D {
  const [, rows, columns] = y.shape;
  const inside = (axis: 0 | 1, position: number) => {
    const start = position * pool.stride[axis] - pool.padding[axis * 2]!;
    return Math.min(start + pool.kernel[axis], input[axis + 1]!) - Math.max(start, 0);
  };
  const factors = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      factors[row * columns + column] = 1 / (inside(0, row) * inside(1, column));
    }
  }
  return heap.tf.mul(y, heap.tf.tensor4d(factors, [1, rows, columns, 1]));
}
