/** Convolutions of N,H,W,C by products of matrices (conv.wat), and depthwise ones (window.wat). */
import type { Tensor4D } from "@tensorflow/tfjs-core";

import { RepkitError } from "../../../errors.js";
import type { ConvWindow, Shape4 } from "../backend.js";
import * as depthwise from "./depthwise.js";
import { area, checkedOutput, expectShape, padded, tapsOf, transposition } from "./geometry.js";
import type { Tap } from "./geometry.js";
import type { Heap, Take } from "./heap.js";
import { inBlocks, integers, phaseTable, runsOf, windowTable } from "./table.js";
import type { Runs, Table } from "./table.js";

/** Pixels that share a panel of weights while it is in the cache; a multiple of 4. */
const MULTIPLY_BLOCK = 128;
/** Products summed in one float32: what fits the first-level cache with its weights. */
const INNER_BLOCK = 256;
/** Pixels summed in one float32; what blocks sum to is added up. */
const CORRELATE_BLOCK = 256;

/** y[n,y,x,o] = Σ x[n, y*stride + u*dilation - top, ..., i] kernel[u,v,i,o] */
export function conv2d(heap: Heap, x: Tensor4D, kernel: Tensor4D, window: ConvWindow): Tensor4D {
  const { groups, inputs, outputs } = checkedKernel(window, x.shape, kernel.shape);
  const shape = checkedOutput(window, x.shape, outputs * groups);
  if (inputs === 1 && outputs === 1) return depthwise.forward(heap, x, kernel, window, shape);
  const y = heap.output(shape);
  heap.borrow((take) => {
    const from = padded(heap, take, area(heap, x), window.padding);
    const taps = tapsOf(window);
    const runs = runsOf(taps, from, inputs);
    for (let group = 0; group < groups; group++) {
      const channels = { in: group * inputs, out: group * outputs };
      const packed = packWeights(heap, take, kernel, taps, {
        start: channels.out,
        inner: [inputs, outputs * groups],
        columns: [outputs, 1],
      });
      const table = windowTable(heap, take, window, from, area(heap, y), channels);
      multiply(heap, take, table, runs, packed, outputs);
    }
  });
  return y;
}

export function conv2dGradX(
  heap: Heap,
  dy: Tensor4D,
  kernel: Tensor4D,
  shape: Shape4,
  window: ConvWindow,
): Tensor4D {
  const { groups, inputs, outputs } = checkedKernel(window, shape, kernel.shape);
  expectShape("the gradient of y", dy, checkedOutput(window, shape, outputs * groups));
  if (inputs === 1 && outputs === 1) return depthwise.gradX(heap, dy, kernel, window, shape);
  const dx = heap.output(shape);
  heap.borrow((take) => {
    const gradient = area(heap, dy);
    const size = [gradient.rows, gradient.columns] as const;
    const { padding, phases } = transposition(window, [shape[1], shape[2]], size);
    const from = padded(heap, take, gradient, padding);
    if (phases.some(({ taps }) => taps.length === 0)) {
      heap.view(heap.address(dx), dx.size).fill(0);
    }
    for (const phase of phases.filter(({ taps }) => taps.length > 0)) {
      const runs = runsOf(phase.taps, from, outputs);
      for (let group = 0; group < groups; group++) {
        const channels = { in: group * outputs, out: group * inputs };
        const packed = packWeights(heap, take, kernel, phase.taps, {
          start: channels.in,
          inner: [outputs, 1],
          columns: [inputs, outputs * groups],
        });
        const table = phaseTable(heap, take, window, phase, from, area(heap, dx), channels);
        multiply(heap, take, table, runs, packed, inputs);
      }
    }
  });
  return dx;
}

export function conv2dGradKernel(
  heap: Heap,
  x: Tensor4D,
  dy: Tensor4D,
  shape: Shape4,
  window: ConvWindow,
): Tensor4D {
  const { groups, inputs, outputs } = checkedKernel(window, x.shape, shape);
  expectShape("the gradient of y", dy, checkedOutput(window, x.shape, outputs * groups));
  if (inputs === 1 && outputs === 1) return depthwise.gradKernel(heap, x, dy, window, shape);
  const out = heap.output(shape);
  heap.borrow((take) => {
    const from = padded(heap, take, area(heap, x), window.padding, { slack: inputs % 4 !== 0 });
    const runs = runsOf(tapsOf(window), from, inputs);
    const offsets = integers(heap, take, runs.offsets);
    const panels = Math.ceil(outputs / 8);
    const rows = Math.ceil(runs.length / 4) * 4;
    const exact = groups === 1 && rows === runs.length && outputs % 8 === 0;
    const size = runs.offsets.length * rows * panels * 8;
    const sums = exact ? heap.address(out) : take(size * 4);
    const outs = take(CORRELATE_BLOCK * panels * 32);
    const scratch = take(CORRELATE_BLOCK * 16);
    for (let group = 0; group < groups; group++) {
      const channels = { in: group * inputs, out: group * outputs };
      const table = windowTable(heap, take, window, from, area(heap, dy), channels);
      heap.view(sums, size).fill(0);
      inBlocks(table, CORRELATE_BLOCK, (address, count) => {
        heap.conv.packOutputs(outs, address, count, outputs);
        heap.conv.correlate(
          ...[sums, address, count, outs, scratch],
          ...[panels, offsets, runs.offsets.length, runs.length],
        );
      });
      if (exact) continue;
      const { floats } = heap;
      let to = heap.address(out) / 4 + channels.out;
      for (let run = 0; run < runs.offsets.length; run++) {
        for (let row = 0; row < runs.length; row++, to += outputs * groups) {
          const start = sums / 4 + (run * rows + row) * panels * 8;
          floats.copyWithin(to, start, start + outputs);
        }
      }
    }
  });
  return out;
}

/** out[pixel][column] = Σ over the runs of in[pixel] packed[column], in blocks of each. */
function multiply(
  heap: Heap,
  take: Take,
  table: Table,
  runs: Runs,
  packed: number,
  columns: number,
): void {
  const panel = runs.offsets.length * runs.length * 32;
  const inputs = take(MULTIPLY_BLOCK * INNER_BLOCK * 4);
  const scratch = take(32);
  const pieces = piecesOf(runs).map((piece) => {
    return { ...piece, address: integers(heap, take, piece.offsets) };
  });
  inBlocks(table, MULTIPLY_BLOCK, (address, count) => {
    for (const { address: offsets, ...piece } of pieces) {
      const inner = piece.offsets.length * piece.length;
      heap.conv.packInputs(inputs, address, count, offsets, piece.offsets.length, piece.length);
      heap.conv.multiply(
        ...[address, count, inputs, packed + piece.start * 32, panel],
        ...[inner, columns, piece.start, scratch],
      );
    }
  });
}

/** Runs in pieces of INNER_BLOCK numbers or fewer: several short ones, or a part of a long one. */
function piecesOf({ offsets, length }: Runs): (Runs & { readonly start: number })[] {
  if (length <= INNER_BLOCK) {
    const together = Math.floor(INNER_BLOCK / length);
    return Array.from({ length: Math.ceil(offsets.length / together) }, (_, index) => {
      const first = index * together;
      return { offsets: offsets.slice(first, first + together), length, start: first * length };
    });
  }
  return offsets.flatMap((offset, run) =>
    Array.from({ length: Math.ceil(length / INNER_BLOCK) }, (_, index) => {
      const first = index * INNER_BLOCK;
      const part = Math.min(INNER_BLOCK, length - first);
      return { offsets: [offset + first * 4], length: part, start: run * length + first };
    }),
  );
}

/** Channels per group, once a kernel [h,w,I,O] is known to fit the window and images [N,H,W,C]. */
function checkedKernel(
  { kernel, groups }: ConvWindow,
  x: readonly number[],
  shape: readonly number[],
): { groups: number; inputs: number; outputs: number } {
  const [height, width, inputs = 0, all = 0] = shape;
  const outputs = all / groups;
  const fits =
    shape.length === 4 &&
    [groups, inputs, outputs].every((n) => Number.isSafeInteger(n) && n > 0) &&
    height === kernel[0] &&
    width === kernel[1] &&
    inputs * groups === x[3];
  if (!fits) {
    throw new RepkitError(
      "internal",
      `tfjs:wasm: a kernel [${shape.join(", ")}] in ${groups} groups for a window of ${kernel.join("x")} does not fit [${x.join(", ")}]`,
    );
  }
  return { groups, inputs, outputs };
}

/** Panels of weights; [count, distance] of the summed and of the output channels, in numbers from `start`. */
function packWeights(
  heap: Heap,
  take: Take,
  kernel: Tensor4D,
  taps: readonly Tap[],
  layout: { start: number; inner: readonly [number, number]; columns: readonly [number, number] },
): number {
  const { start, inner, columns } = layout;
  const [, , inputs, outputs] = kernel.shape;
  const packed = take(Math.ceil(columns[0] / 8) * 8 * taps.length * inner[0] * 4);
  const offsets = integers(
    heap,
    take,
    taps.map(({ index }) => index * inputs * outputs * 4),
  );
  heap.conv.packWeights(
    ...[packed, heap.address(kernel) + start * 4, offsets, taps.length],
    ...[inner[0], inner[1] * 4, columns[0], columns[1] * 4],
  );
  return packed;
}
