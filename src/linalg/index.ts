/**
 * Sums in float64: what makes exact folding of large models and their float64 check affordable. By
 * WebAssembly and plain loops anywhere; a job for which that is slow asks for native ones (use-native.ts).
 */
import type { Lines, ProductSize } from "./lines.js";
import { type LinalgAddon, multiplyAdd as multiplyAddNatively } from "./native.js";
import * as portable from "./portable.js";

export { type Lines, lines, type ProductSize } from "./lines.js";

let native: LinalgAddon | undefined;

/** Below it, crossing over to native code takes longer than the work. */
const SMALL_PRODUCT = 1 << 12; // multiply-adds
const SMALL_SUM = 1 << 10; // numbers

/** out[row][column] += factor(row) * Σ_k rows[row][k] columns[column][k] */
export function multiplyAdd(
  out: Lines<Float64Array>,
  rowLines: Lines,
  columnLines: Lines,
  size: ProductSize,
): void {
  const isSmall = size.rows * size.columns * size.inner < SMALL_PRODUCT;
  if (isSmall || native === undefined) portable.multiplyAdd(out, rowLines, columnLines, size);
  else multiplyAddNatively(native, out, rowLines, columnLines, size);
}

/** target += data * factors, one factor for each index of the first axis; without factors, of 1. */
export function addScaled(
  target: Float64Array,
  data: Float64Array | Float32Array,
  factors?: Float64Array,
): void {
  const isSmall = target.length < SMALL_SUM;
  if (isSmall || native === undefined) portable.addScaled(target, data, factors);
  else native.addScaled(target, data, factors);
}

/** target[o][i][p] += factors[o] * weights[o][i] * taps[o][p] */
export function addOuter(
  target: Float64Array,
  weights: Float64Array | Float32Array,
  taps: Float64Array | Float32Array,
  factors: Float64Array,
): void {
  const isSmall = target.length < SMALL_SUM;
  if (isSmall || native === undefined) portable.addOuter(target, weights, taps, factors);
  else native.addOuter(target, weights, taps, factors);
}

/** Fills `out` with data * factors rounded to float32, one factor for each index of the first axis. */
export function roundScaled(
  data: Float64Array | Float32Array,
  factors: Float64Array,
  out: Float32Array<ArrayBufferLike>,
): void {
  const isSmall = data.length < SMALL_SUM;
  if (isSmall || native === undefined) portable.roundScaled(data, factors, out);
  else native.roundScaled(data, factors, out);
}

/** Fills `out` with the numbers rounded to float32. */
export function round(numbers: Float64Array, out: Float32Array): void {
  if (numbers.length < SMALL_SUM || native === undefined) out.set(numbers);
  else native.round(numbers, out);
}

/** Takes these sums from now on, in this thread; undefined for the portable ones. */
export function takeSums(addon: LinalgAddon | undefined): void {
  native = addon;
}
