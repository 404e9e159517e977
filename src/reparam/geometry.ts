/**
 * Which pixels a convolution reads, one axis at a time: output i reads the pixels
 * `stride*i + start + step*j` for j = 0 .. count-1, zeros outside the image. Two convolutions of the
 * same stride can be written with one kernel exactly if their taps fit a common grid, which they
 * always do:
 *
 *     3 taps, step 1, from -1:   a b c          into 5 from -2:  0 a b c 0
 *     1 tap at 0:                  d                             0 0 d 0 0
 *     3 taps, step 2, from -2: e   f   g                         e 0 f 0 g
 */
import type { OpOf, Padding, Pair } from "../graph/index.js";

export interface Taps {
  readonly start: number;
  readonly step: number;
  readonly count: number;
  /** Pixels that may follow the last tap of output 0: padding after, less the last tap. */
  readonly slack: number;
}

type ConvGeometry = Omit<OpOf<"conv2d">, "kind">;

/** The taps of both axes: [vertical, horizontal]. */
export function tapsOf(op: ConvGeometry, kernel: Pair): readonly [Taps, Taps] {
  const [top, bottom, left, right] = op.padding;
  return [
    axisTaps(kernel[0], op.dilation[0], top, bottom),
    axisTaps(kernel[1], op.dilation[1], left, right),
  ];
}

function axisTaps(count: number, dilation: number, before: number, after: number): Taps {
  const start = 0 - before; // not -before, which makes -0 of 0
  return { start, step: dilation, count, slack: after - (start + dilation * (count - 1)) };
}

/** The smallest grid that holds all the taps. Slack is that of the one that reaches furthest. */
export function commonTaps(all: readonly Taps[]): Taps {
  const start = Math.min(...all.map((taps) => taps.start));
  const end = Math.max(...all.map(lastTap));
  const widest = all.reduce((best, taps) => (lastTap(taps) > lastTap(best) ? taps : best));
  const distances = all.flatMap((taps) => [taps.start - start, taps.count > 1 ? taps.step : 0]);
  const step = Math.max(1, distances.reduce(gcd, 0));
  return { start, step, count: (end - start) / step + 1, slack: widest.slack };
}

/** How a kernel with `inner` taps lies in one with `outer` taps. */
export function placement(inner: Taps, outer: Taps): { offset: number; dilation: number } {
  const offset = (inner.start - outer.start) / outer.step;
  return { offset, dilation: inner.count > 1 ? inner.step / outer.step : 1 };
}

/** Kernel extent, dilation and padding of a convolution with these taps. */
export function geometryOf([vertical, horizontal]: readonly [Taps, Taps]): {
  kernel: Pair;
  dilation: Pair;
  padding: Padding;
} {
  const after = (taps: Taps) => taps.slack + lastTap(taps);
  return {
    kernel: [vertical.count, horizontal.count],
    dilation: [vertical.step, horizontal.step],
    padding: [0 - vertical.start, after(vertical), 0 - horizontal.start, after(horizontal)],
  };
}

function lastTap({ start, step, count }: Taps): number {
  return start + step * (count - 1);
}

export function gcd(a: number, b: number): number {
  let [x, y] = [Math.abs(a), Math.abs(b)];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}
