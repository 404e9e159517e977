/**
 * Weights of Pillow's BILINEAR filter along one axis (precompute_coeffs and normalize_coeffs_8bpc of
 * src/libImaging/Resample.c, Pillow 9.4): a triangle that widens with the reduction, in fixed point.
 */

const { abs, ceil, max, min, trunc } = Math;

/** Fractional bits of a weight: 8 bits of pixel and 2 of headroom leave 22 of 32. */
export const PRECISION_BITS = 22;

export interface Taps {
  /** Distance between the weights of two outputs; no output takes more inputs. */
  readonly stride: number;
  /** Of each output: its first input, and how many it takes. */
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  /** Multiplied by 2^22; those of output i from i * stride. */
  readonly weights: Int32Array;
}

/** The taps of outputs `from` to `from + count`, where `inSize` pixels become `outSize`. */
export function triangleTaps(inSize: number, outSize: number, from: number, count: number): Taps {
  const scale = inSize / outSize;
  const support = max(scale, 1);
  const stride = ceil(support) * 2 + 1;
  const inverse = 1 / support; // Pillow multiplies by the inverse, which rounds differently
  const starts = new Int32Array(count);
  const counts = new Int32Array(count);
  const weights = new Int32Array(count * stride);
  const row = new Float64Array(stride);
  for (let index = 0; index < count; index++) {
    const center = (from + index + 0.5) * scale;
    const { low, high } = tapRange(inSize, outSize, from + index);
    const taps = high - low;
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) {
      const weight = max(0, 1 - abs((tap + low - center + 0.5) * inverse));
      row[tap] = weight;
      sum += weight;
    }
    // Weights that round to zero at either end ask for no pixel.
    let first = 0;
    let end = 0;
    for (let tap = 0; tap < taps; tap++) {
      const weight = trunc(0.5 + (row[tap]! / sum) * 2 ** PRECISION_BITS);
      if (weight === 0) continue;
      if (end === 0) first = tap;
      end = tap + 1;
      weights[index * stride + tap - first] = weight;
    }
    starts[index] = low + first;
    counts[index] = end - first;
  }
  return { stride, starts, counts, weights };
}

/** The inputs from `low` up to, not including, `high` that may bear on output `index`. */
export function tapRange(
  inSize: number,
  outSize: number,
  index: number,
): { readonly low: number; readonly high: number } {
  const scale = inSize / outSize;
  const support = max(scale, 1);
  const center = (index + 0.5) * scale;
  return {
    low: max(0, trunc(center - support + 0.5)),
    high: min(inSize, trunc(center + support + 0.5)),
  };
}
