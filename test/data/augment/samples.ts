/** Seeded numbers, and how far samples are from a distribution. */
import type { Random, RgbImage } from "../../../src/data/types.js";

/** mulberry32. */
export function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** These numbers, then an error. */
export function scripted(...numbers: number[]): Random {
  return () => {
    const next = numbers.shift();
    if (next === undefined) throw new Error("more random numbers asked for than scripted");
    return next;
  };
}

/** The two uniform numbers of which Box and Muller's method makes this standard normal one (>= 0). */
export const forNormal = (value: number) => [1 - Math.exp(-(value ** 2) / 2), 0];

export const collect = (count: number, draw: () => number) => Array.from({ length: count }, draw);

export const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

export function deviation(values: readonly number[]): number {
  const center = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - center) ** 2)));
}

/** Kolmogorov and Smirnov's distance times sqrt(count): above 1.95 in 1 of 1000 samples. */
export function ksDistance(values: readonly number[], cdf: (value: number) => number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const gaps = sorted.map((value, index) =>
    Math.max(
      Math.abs(cdf(value) - index / sorted.length),
      Math.abs(cdf(value) - (index + 1) / sorted.length),
    ),
  );
  return Math.max(...gaps) * Math.sqrt(sorted.length);
}

export const KS_LIMIT = 1.95;

/** Against equal frequencies, as standard deviations from what is expected (Wilson and Hilferty). */
export function chiSquareScore(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  const freedom = counts.length - 1;
  const spread = 2 / (9 * freedom);
  return ((chiSquare / freedom) ** (1 / 3) - (1 - spread)) / Math.sqrt(spread);
}

export const CHI_SQUARE_LIMIT = 3.1;

export function countBy<T>(values: readonly T[]): Map<T, number> {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

export function imageOf(width: number, height: number, byte: (index: number) => number): RgbImage {
  return {
    width,
    height,
    data: Uint8Array.from({ length: 3 * width * height }, (_, index) => byte(index)),
  };
}

export function noise(width: number, height: number, seed = 1): RgbImage {
  const random = seeded(seed);
  return imageOf(width, height, () => 256 * random());
}

export const copyOf = (image: RgbImage): RgbImage => ({ ...image, data: image.data.slice() });
