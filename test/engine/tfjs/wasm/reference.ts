// The layers of src/engine/tfjs/backend.ts as plain loops in float64, each with the sum of its terms' sizes,
// which bounds what float32 may be off by.

import type { ConvWindow, PoolWindow, Shape4 } from "../../../../src/engine/tfjs/backend.js";

/** Values N,H,W,C and, for each, the sum of the absolute values of the terms it is a sum of. */
export interface Sums {
  readonly values: Float64Array;
  readonly sizes: Float64Array;
}

const sums = (length: number): Sums => ({
  values: new Float64Array(length),
  sizes: new Float64Array(length),
});

const add = (to: Sums, at: number, term: number) => {
  to.values[at]! += term;
  to.sizes[at]! += Math.abs(term);
};

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Calls `visit` for each output pixel and kernel element whose input pixel is inside the image. */
export function eachTap(
  window: PoolWindow & { readonly dilation?: readonly [number, number] },
  x: Shape4,
  y: Shape4,
  visit: (inPixel: number, outPixel: number, tap: number) => void,
): void {
  const [vertical, horizontal] = window.dilation ?? [1, 1];
  for (let n = 0; n < y[0]; n++) {
    for (let oy = 0; oy < y[1]; oy++) {
      for (let ox = 0; ox < y[2]; ox++) {
        for (let u = 0; u < window.kernel[0]; u++) {
          const iy = oy * window.stride[0] + u * vertical - window.padding[0];
          if (iy < 0 || iy >= x[1]) continue;
          for (let v = 0; v < window.kernel[1]; v++) {
            const ix = ox * window.stride[1] + v * horizontal - window.padding[2];
            if (ix < 0 || ix >= x[2]) continue;
            const tap = u * window.kernel[1] + v;
            visit((n * x[1] + iy) * x[2] + ix, (n * y[1] + oy) * y[2] + ox, tap);
          }
        }
      }
    }
  }
}

export function outputShape(
  window: PoolWindow & { readonly dilation?: readonly [number, number] },
  x: Shape4,
  channels: number,
): Shape4 {
  const [top, bottom, left, right] = window.padding;
  const [vertical, horizontal] = window.dilation ?? [1, 1];
  const height = x[1] + top + bottom - vertical * (window.kernel[0] - 1) - 1;
  const width = x[2] + left + right - horizontal * (window.kernel[1] - 1) - 1;
  const rows = Math.floor(height / window.stride[0]) + 1;
  return [x[0], rows, Math.floor(width / window.stride[1]) + 1, channels];
}

/** Convolution and both gradients at once. */
export function convolution(
  window: ConvWindow,
  shape: Shape4,
  kernelShape: Shape4,
  { x, kernel, dy }: Readonly<Record<"x" | "kernel" | "dy", ArrayLike<number>>>,
): { y: Sums; dx: Sums; dkernel: Sums } {
  const [, , inputs, outputs] = kernelShape;
  const yShape = outputShape(window, shape, outputs);
  const y = sums(size(yShape));
  const dx = sums(size(shape));
  const dkernel = sums(size(kernelShape));
  const perGroup = outputs / window.groups;
  eachTap(window, shape, yShape, (inPixel, outPixel, tap) => {
    for (let o = 0; o < outputs; o++) {
      const to = outPixel * outputs + o;
      for (let i = 0; i < inputs; i++) {
        const from = inPixel * shape[3] + Math.floor(o / perGroup) * inputs + i;
        const weight = (tap * inputs + i) * outputs + o;
        add(y, to, x[from]! * kernel[weight]!);
        add(dx, from, dy[to]! * kernel[weight]!);
        add(dkernel, weight, dy[to]! * x[from]!);
      }
    }
  });
  return { y, dx, dkernel };
}

/** Average pooling, given dy also its gradient. */
export function averages(
  window: PoolWindow,
  countIncludePad: boolean,
  shape: Shape4,
  { x, dy }: Readonly<Record<"x" | "dy", ArrayLike<number>>>,
): { y: Sums; dx: Sums } {
  const channels = shape[3];
  const yShape = outputShape(window, shape, channels);
  const inside = new Float64Array(size(yShape) / channels);
  eachTap(window, shape, yShape, (_, outPixel) => inside[outPixel]!++);
  const y = sums(size(yShape));
  const dx = sums(size(shape));
  eachTap(window, shape, yShape, (inPixel, outPixel) => {
    const divisor = countIncludePad ? window.kernel[0] * window.kernel[1] : inside[outPixel]!;
    for (let c = 0; c < channels; c++) {
      add(y, outPixel * channels + c, x[inPixel * channels + c]! / divisor);
      add(dx, inPixel * channels + c, dy[outPixel * channels + c]! / divisor);
    }
  });
  return { y, dx };
}

/** Max pooling; the gradient goes to the first maximum. */
export function maxima(
  window: PoolWindow,
  shape: Shape4,
  { x, dy }: Readonly<Record<"x" | "dy", ArrayLike<number>>>,
): { y: Float64Array; dx: Sums } {
  const channels = shape[3];
  const yShape = outputShape(window, shape, channels);
  const y = new Float64Array(size(yShape)).fill(-Infinity);
  const winner = new Int32Array(y.length);
  eachTap(window, shape, yShape, (inPixel, outPixel) => {
    for (let c = 0; c < channels; c++) {
      const value = x[inPixel * channels + c]!;
      if (value > y[outPixel * channels + c]!) {
        y[outPixel * channels + c] = value;
        winner[outPixel * channels + c] = inPixel * channels + c;
      }
    }
  });
  const dx = sums(size(shape));
  y.forEach((_, at) => add(dx, winner[at]!, dy[at]!));
  return { y, dx };
}
