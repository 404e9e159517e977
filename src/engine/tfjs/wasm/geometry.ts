/** Where a window's pixels lie: sizes, padded copies, and the input pixels behind each output pixel. */
import type { Tensor4D } from "@tensorflow/tfjs-core";

import { RepkitError } from "../../../errors.js";
import type { Pair, Padding } from "../../../graph/index.js";
import type { PoolWindow, Shape4 } from "../backend.js";
import type { Heap, Take } from "./heap.js";

export interface Window extends PoolWindow {
  readonly dilation: Pair;
}

/** Images in memory, in pixels; `address` in bytes. */
export interface Area {
  readonly address: number;
  readonly images: number;
  readonly rows: number;
  readonly columns: number;
  readonly channels: number;
}

export function area(heap: Heap, x: Tensor4D): Area {
  const [images, rows, columns, channels] = x.shape;
  return { address: heap.address(x), images, rows, columns, channels };
}

/** [rows, columns] of what a window makes of an image of rows x columns. */
export function outputSize(window: Window, rows: number, columns: number): Pair {
  const [top, bottom, left, right] = window.padding;
  const extent = (axis: 0 | 1, size: number) =>
    Math.floor(
      (size - window.dilation[axis] * (window.kernel[axis] - 1) - 1) / window.stride[axis],
    ) + 1;
  return [extent(0, rows + top + bottom), extent(1, columns + left + right)];
}

/** Fails unless a tensor has this shape. */
export function expectShape(
  what: string,
  tensor: { shape: number[] },
  shape: readonly number[],
): void {
  if (tensor.shape.length !== shape.length || tensor.shape.some((n, axis) => n !== shape[axis])) {
    throw new RepkitError(
      "internal",
      `tfjs:wasm: ${what} is [${tensor.shape.join(", ")}], expected [${shape.join(", ")}]`,
    );
  }
}

/** Fails unless a window is one, and makes at least a pixel; returns the shape of its output. */
export function checkedOutput(window: Window, x: readonly number[], channels: number): Shape4 {
  const natural = (n: number, least: number) => Number.isSafeInteger(n) && n >= least;
  const [images = 0, rows = 0, columns = 0, inputs = 0] = x;
  const [height, width] = outputSize(window, rows, columns);
  const valid =
    x.length === 4 &&
    [...window.kernel, ...window.stride, ...window.dilation].every((n) => natural(n, 1)) &&
    window.padding.every((n) => natural(n, 0)) &&
    [images, inputs, channels, height, width].every((n) => natural(n, 1));
  if (!valid) {
    throw new RepkitError(
      "internal",
      `tfjs:wasm: a window of ${window.kernel.join("x")} (stride ${window.stride.join("x")}, dilation ` +
        `${window.dilation.join("x")}, padding ${window.padding.join(", ")}) does not fit [${x.join(", ")}]`,
    );
  }
  return [images, height, width, channels];
}

/**
 * The same images with a border; themselves if there is none and no `slack`: 16 bytes behind them that
 * may be read.
 */
export function padded(
  heap: Heap,
  take: Take,
  x: Area,
  padding: Padding,
  { value = 0, slack = false }: { value?: number; slack?: boolean } = {},
): Area {
  const [top, bottom, left, right] = padding;
  if (!slack && padding.every((side) => side === 0)) return x;
  const out = { ...x, rows: x.rows + top + bottom, columns: x.columns + left + right };
  const line = out.columns * x.channels;
  const size = x.images * out.rows * line;
  const address = take(size * 4 + 16);
  const { floats } = heap;
  const start = address / 4;
  if (padding.some((side) => side !== 0)) floats.fill(value, start, start + size);
  const row = x.columns * x.channels;
  let from = x.address / 4;
  for (let image = 0; image < x.images; image++) {
    let to = start + (image * out.rows + top) * line + left * x.channels;
    for (let y = 0; y < x.rows; y++, from += row, to += line) {
      floats.copyWithin(to, from, from + row);
    }
  }
  return { ...out, address };
}

/** The inverse of `padded`: what lies inside the border, to `to`. */
export function cropped(heap: Heap, x: Area, padding: Padding, to: Area): void {
  const { floats } = heap;
  const row = to.columns * to.channels;
  let target = to.address / 4;
  for (let image = 0; image < to.images; image++) {
    for (let y = 0; y < to.rows; y++, target += row) {
      const line = (image * x.rows + padding[0] + y) * x.columns + padding[2];
      const from = x.address / 4 + line * x.channels;
      floats.copyWithin(target, from, from + row);
    }
  }
}

/** One tap of a window: which element of the kernel, and which pixel from the window's first, in pixels. */
export interface Tap {
  readonly index: number;
  readonly row: number;
  readonly column: number;
}

/** Every tap, in the order of the kernel. */
export function tapsOf({ kernel, dilation }: Window): Tap[] {
  const taps: Tap[] = [];
  for (let row = 0; row < kernel[0]; row++) {
    for (let column = 0; column < kernel[1]; column++) {
      const index = row * kernel[1] + column;
      taps.push({ index, row: row * dilation[0], column: column * dilation[1] });
    }
  }
  return taps;
}

/**
 * The gradient of a window's input is itself a sum over taps of the output's gradient, with stride 1, for
 * every `stride`-th input pixel: input rows `first`, first + stride, ... (and columns likewise).
 */
export interface Phase {
  readonly first: Pair;
  readonly count: Pair;
  /** Row and column in the padded gradient of the output, of the first of these input pixels. */
  readonly taps: readonly Tap[];
}

export interface Transposition {
  /** Border that the output's gradient needs. */
  readonly padding: Padding;
  readonly phases: readonly Phase[];
}

interface AxisPhase {
  readonly first: number;
  readonly count: number;
  /** Kernel element, and output pixel that it belongs to; ascending. */
  readonly taps: readonly { readonly element: number; readonly position: number }[];
}

/** input + before = output*stride + element*dilation, solved for the output. */
function axisPhases(window: Window, axis: 0 | 1, size: number): AxisPhase[] {
  const stride = window.stride[axis];
  const before = window.padding[axis * 2]!;
  return Array.from({ length: Math.min(stride, size) }, (_, first) => {
    const taps = [];
    for (let element = window.kernel[axis] - 1; element >= 0; element--) {
      const position = (first + before - element * window.dilation[axis]) / stride;
      if (Number.isInteger(position)) taps.push({ element, position });
    }
    return { first, count: Math.ceil((size - first) / stride), taps };
  });
}

export function transposition(window: Window, input: Pair, output: Pair): Transposition {
  const axes = [axisPhases(window, 0, input[0]), axisPhases(window, 1, input[1])] as const;
  const border = (axis: 0 | 1): Pair => {
    let before = 0;
    let after = 0;
    for (const { count, taps } of axes[axis]) {
      for (const { position } of taps) {
        before = Math.max(before, -position);
        after = Math.max(after, position + count - output[axis]);
      }
    }
    return [before, after];
  };
  const [top, bottom] = border(0);
  const [left, right] = border(1);
  const phases = axes[0].flatMap((vertical) =>
    axes[1].map((horizontal): Phase => ({
      first: [vertical.first, horizontal.first],
      count: [vertical.count, horizontal.count],
      taps: vertical.taps.flatMap((v) =>
        horizontal.taps.map((h) => ({
          index: v.element * window.kernel[1] + h.element,
          row: v.position + top,
          column: h.position + left,
        })),
      ),
    })),
  );
  return { padding: [top, bottom, left, right], phases };
}
