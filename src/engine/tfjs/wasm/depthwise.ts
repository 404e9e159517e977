/** Windows over each channel by itself: depthwise convolution and its gradients (window.wat). */
import type { Tensor4D } from "@tensorflow/tfjs-core";

import type { Shape4 } from "../backend.js";
import { area, padded, tapsOf, transposition } from "./geometry.js";
import type { Tap, Window } from "./geometry.js";
import type { Heap } from "./heap.js";
import { inBlocks, integers, phaseTable, tapBytes, windowTable } from "./table.js";

/** Pixels summed in one float32; what blocks sum to is added up. */
const BLOCK = 256;

/** The kernels take channels by fours. */
export function channelsByFour(heap: Heap, x: Tensor4D): Tensor4D {
  const missing = -x.shape[3] & 3;
  if (missing === 0) return x;
  return heap.tf.pad(x, [
    [0, 0],
    [0, 0],
    [0, 0],
    [0, missing],
  ]);
}

export function firstChannels(heap: Heap, x: Tensor4D, channels: number): Tensor4D {
  if (x.shape[3] === channels) return x;
  const [images, rows, columns] = x.shape;
  return heap.tf.slice(x, 0, [images, rows, columns, channels]);
}

/** `kernel`: [h,w,1,C]; `shape`: of the output. */
export function forward(
  heap: Heap,
  image: Tensor4D,
  filter: Tensor4D,
  window: Window,
  shape: Shape4,
): Tensor4D {
  const x = channelsByFour(heap, image);
  const kernel = channelsByFour(heap, filter);
  const channels = x.shape[3];
  const y = heap.output([shape[0], shape[1], shape[2], channels]);
  heap.borrow((take) => {
    const from = padded(heap, take, area(heap, x), window.padding);
    const taps = tapsOf(window).map((tap) => tapBytes(tap, from));
    const offsets = integers(heap, take, taps);
    const table = windowTable(heap, take, window, from, area(heap, y));
    heap.window.depthwise(
      ...[table.address, table.count, heap.address(kernel)],
      ...[offsets, taps.length, channels * 4],
    );
  });
  return firstChannels(heap, y, image.shape[3]);
}

/** `shape`: of the input. */
export function gradX(
  heap: Heap,
  gradient: Tensor4D,
  filter: Tensor4D,
  window: Window,
  shape: Shape4,
): Tensor4D {
  const dy = channelsByFour(heap, gradient);
  const kernel = channelsByFour(heap, filter);
  const channels = dy.shape[3];
  const dx = heap.output([shape[0], shape[1], shape[2], channels]);
  heap.borrow((take) => {
    const size = [dy.shape[1], dy.shape[2]] as const;
    const { padding, phases } = transposition(window, [shape[1], shape[2]], size);
    const from = padded(heap, take, area(heap, dy), padding);
    if (phases.some(({ taps }) => taps.length === 0)) {
      heap.view(heap.address(dx), dx.size).fill(0);
    }
    for (const phase of phases.filter(({ taps }) => taps.length > 0)) {
      const weights = take(phase.taps.length * channels * 4);
      phase.taps.forEach(({ index }: Tap, position) => {
        const start = heap.address(kernel) / 4 + index * channels;
        heap.floats.copyWithin(weights / 4 + position * channels, start, start + channels);
      });
      const offsets = integers(
        heap,
        take,
        phase.taps.map((tap) => tapBytes(tap, from)),
      );
      const table = phaseTable(heap, take, window, phase, from, area(heap, dx));
      heap.window.depthwise(
        ...[table.address, table.count, weights, offsets, phase.taps.length, channels * 4],
      );
    }
  });
  return firstChannels(heap, dx, shape[3]);
}

/** `shape`: of the kernel, [h,w,1,C]. */
export function gradKernel(
  heap: Heap,
  image: Tensor4D,
  gradient: Tensor4D,
  window: Window,
  shape: Shape4,
): Tensor4D {
  const x = channelsByFour(heap, image);
  const dy = channelsByFour(heap, gradient);
  const channels = x.shape[3];
  const out = heap.output([shape[0], shape[1], 1, channels]);
  heap.borrow((take) => {
    const from = padded(heap, take, area(heap, x), window.padding);
    const taps = tapsOf(window).map((tap) => tapBytes(tap, from));
    const offsets = integers(heap, take, taps);
    const table = windowTable(heap, take, window, from, area(heap, dy));
    const sums = heap.address(out);
    heap.view(sums, out.size).fill(0);
    inBlocks(table, BLOCK, (address, count) =>
      heap.window.correlateChannels(sums, address, count, offsets, taps.length, channels * 4),
    );
  });
  return firstChannels(heap, out, shape[3]);
}
