/**
 * Pillow's antialiased bilinear resize, bit for bit (ImagingResample, Pillow 9.4): first the width, to
 * 8 bits, then the height; sums of 22-bit fixed-point products, rounded. Only the rows and columns that
 * the window needs are computed, and mirroring is only the order in which columns are stored.
 *
 * Loops are written out for up to four taps, which covers reductions to about half: with the weights in
 * registers, going down a column takes half the time of going along a row.
 */
import { invalidArgument } from "../errors.js";
import { PRECISION_BITS, tapRange, type Taps, triangleTaps } from "./triangle.js";
import type { Box, Placement, RgbImage } from "./types.js";

const { imul } = Math;
const HALF = 1 << (PRECISION_BITS - 1);

/** The part of the image that the window depends on. */
export function neededRegion({ box, width, height, window }: Placement): Box {
  const left = tapRange(box.width, width, window.left).low;
  const right = tapRange(box.width, width, window.left + window.width - 1).high;
  const top = tapRange(box.height, height, window.top).low;
  const bottom = tapRange(box.height, height, window.top + window.height - 1).high;
  return {
    left: box.left + left,
    top: box.top + top,
    width: right - left,
    height: bottom - top,
  };
}

/**
 * Writes the placed window (window height x width x 3 bytes) to `out`. `source` holds the pixels of
 * `region` of the image, which must contain the needed region.
 */
export function resample(
  source: RgbImage,
  region: Box,
  placement: Placement,
  out: Uint8Array,
): void {
  const { box, width, height, window, flip } = placement;
  const needed = neededRegion(placement);
  check(source, region, needed, out, window);
  const columns = triangleTaps(box.width, width, window.left, window.width);
  const rows = triangleTaps(box.height, height, window.top, window.height);
  shift(columns.starts, box.left - region.left);
  shift(rows.starts, box.top - needed.top);
  const between = new Uint8Array(needed.height * window.width * 3);
  const from = (needed.top - region.top) * region.width * 3;
  const pixels = source.data.subarray(from, from + needed.height * region.width * 3);
  const horizontal = mostTaps(columns) <= 4 ? downColumns : alongRows;
  horizontal(pixels, region.width * 3, needed.height, columns, flip, between);
  vertical(between, window.width * 3, rows, out);
}

/** One output column after the other, its weights at hand: for up to four taps. */
function downColumns(
  source: Uint8Array,
  rowBytes: number,
  rows: number,
  { stride, starts, counts, weights }: Taps,
  flip: boolean,
  out: Uint8Array,
): void {
  const columns = counts.length;
  const outRowBytes = columns * 3;
  for (let x = 0; x < columns; x++) {
    const taps = counts[x]!;
    const w0 = weights[x * stride]!;
    const w1 = weights[x * stride + 1]!;
    let p = starts[x]! * 3;
    let o = (flip ? columns - 1 - x : x) * 3;
    // A tap that is missing has weight 0 and is read where there is one.
    const d1 = taps > 1 ? 3 : 0;
    if (taps <= 2) {
      for (let y = 0; y < rows; y++, p += rowBytes, o += outRowBytes) {
        const q = p + d1;
        out[o] = (imul(source[p]!, w0) + imul(source[q]!, w1) + HALF) >> PRECISION_BITS;
        out[o + 1] = (imul(source[p + 1]!, w0) + imul(source[q + 1]!, w1) + HALF) >> PRECISION_BITS;
        out[o + 2] = (imul(source[p + 2]!, w0) + imul(source[q + 2]!, w1) + HALF) >> PRECISION_BITS;
      }
      continue;
    }
    const w2 = weights[x * stride + 2]!;
    const w3 = taps > 3 ? weights[x * stride + 3]! : 0;
    const d3 = taps > 3 ? 9 : 6;
    for (let y = 0; y < rows; y++, p += rowBytes, o += outRowBytes) {
      const s = p + d3;
      out[o] =
        (imul(source[p]!, w0) +
          imul(source[p + 3]!, w1) +
          imul(source[p + 6]!, w2) +
          imul(source[s]!, w3) +
          HALF) >>
        PRECISION_BITS;
      out[o + 1] =
        (imul(source[p + 1]!, w0) +
          imul(source[p + 4]!, w1) +
          imul(source[p + 7]!, w2) +
          imul(source[s + 1]!, w3) +
          HALF) >>
        PRECISION_BITS;
      out[o + 2] =
        (imul(source[p + 2]!, w0) +
          imul(source[p + 5]!, w1) +
          imul(source[p + 8]!, w2) +
          imul(source[s + 2]!, w3) +
          HALF) >>
        PRECISION_BITS;
    }
  }
}

/** One row after the other: for any number of taps. */
function alongRows(
  source: Uint8Array,
  rowBytes: number,
  rows: number,
  { stride, starts, counts, weights }: Taps,
  flip: boolean,
  out: Uint8Array,
): void {
  const columns = counts.length;
  const step = flip ? -3 : 3;
  for (let y = 0; y < rows; y++) {
    let o = (y * columns + (flip ? columns - 1 : 0)) * 3;
    for (let x = 0; x < columns; x++, o += step) {
      let p = y * rowBytes + starts[x]! * 3;
      let k = x * stride;
      const end = k + counts[x]!;
      let r = HALF;
      let g = HALF;
      let b = HALF;
      for (; k + 1 < end; k += 2, p += 6) {
        const w = weights[k]!;
        const v = weights[k + 1]!;
        r = (r + imul(source[p]!, w) + imul(source[p + 3]!, v)) | 0;
        g = (g + imul(source[p + 1]!, w) + imul(source[p + 4]!, v)) | 0;
        b = (b + imul(source[p + 2]!, w) + imul(source[p + 5]!, v)) | 0;
      }
      if (k < end) {
        const w = weights[k]!;
        r = (r + imul(source[p]!, w)) | 0;
        g = (g + imul(source[p + 1]!, w)) | 0;
        b = (b + imul(source[p + 2]!, w)) | 0;
      }
      out[o] = toByte(r);
      out[o + 1] = toByte(g);
      out[o + 2] = toByte(b);
    }
  }
}

/** Sums of whole rows. */
function vertical(
  source: Uint8Array,
  rowBytes: number,
  { stride, starts, counts, weights }: Taps,
  out: Uint8Array,
): void {
  const sums = new Int32Array(rowBytes);
  for (let y = 0; y < counts.length; y++) {
    const k = y * stride;
    const taps = counts[y]!;
    const p = starts[y]! * rowBytes;
    const o = y * rowBytes;
    const w0 = weights[k]!;
    const w1 = weights[k + 1]!;
    const d1 = taps > 1 ? rowBytes : 0;
    if (taps <= 2) {
      const q = p + d1;
      for (let x = 0; x < rowBytes; x++) {
        out[o + x] = (imul(source[p + x]!, w0) + imul(source[q + x]!, w1) + HALF) >> PRECISION_BITS;
      }
    } else if (taps <= 4) {
      const w2 = weights[k + 2]!;
      const w3 = taps > 3 ? weights[k + 3]! : 0;
      const q = p + rowBytes;
      const r = q + rowBytes;
      const s = taps > 3 ? r + rowBytes : r;
      for (let x = 0; x < rowBytes; x++) {
        out[o + x] =
          (imul(source[p + x]!, w0) +
            imul(source[q + x]!, w1) +
            imul(source[r + x]!, w2) +
            imul(source[s + x]!, w3) +
            HALF) >>
          PRECISION_BITS;
      }
    } else {
      sums.fill(HALF);
      for (let tap = 0; tap < taps; tap += 2) {
        const w = weights[k + tap]!;
        const v = tap + 1 < taps ? weights[k + tap + 1]! : 0;
        const first = p + tap * rowBytes;
        const second = tap + 1 < taps ? first + rowBytes : first;
        for (let x = 0; x < rowBytes; x++) {
          sums[x]! += imul(source[first + x]!, w) + imul(source[second + x]!, v);
        }
      }
      for (let x = 0; x < rowBytes; x++) out[o + x] = toByte(sums[x]!);
    }
  }
}

/** Weights that were each rounded up can exceed 1 together once there are thousands. */
function toByte(sum: number): number {
  const value = sum >> PRECISION_BITS;
  return value > 255 ? 255 : value;
}

function mostTaps({ counts }: Taps): number {
  let most = 0;
  for (const count of counts) most = Math.max(most, count);
  return most;
}

function shift(starts: Int32Array, by: number): void {
  for (let index = 0; index < starts.length; index++) starts[index]! += by;
}

function check(source: RgbImage, region: Box, needed: Box, out: Uint8Array, window: Box): void {
  const inside =
    needed.left >= region.left &&
    needed.top >= region.top &&
    needed.left + needed.width <= region.left + region.width &&
    needed.top + needed.height <= region.top + region.height;
  if (!inside) {
    throw invalidArgument("region", `to contain ${show(needed)}`, show(region));
  }
  const bytes = region.width * region.height * 3;
  if (source.data.length !== bytes) {
    throw invalidArgument("source", `${bytes} bytes for ${show(region)}`, source.data.length);
  }
  if (out.length !== window.width * window.height * 3) {
    throw invalidArgument("out", `${window.width * window.height * 3} bytes`, out.length);
  }
}

function show({ left, top, width, height }: Box): string {
  return `${width}x${height}+${left}+${top}`;
}
