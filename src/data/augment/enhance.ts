/**
 * Pillow's ImageEnhance, to the bit: an image is blended with a degenerate one, out = degenerate + factor (image -
 * degenerate), in float32, cut to whole numbers and to [0, 255]. Factor 1 changes nothing; above 1 extrapolates.
 */
import type { RgbImage } from "../types.js";
import { applyTables, byteTable } from "./lookup.js";

/** The degenerate image is black. */
export function brightness(image: RgbImage, factor: number): void {
  blendWithGray(image, 0, factor);
}

/** The degenerate image is the mean brightness. */
export function contrast(image: RgbImage, factor: number): void {
  const { data } = image;
  let sum = 0;
  for (let index = 0; index < data.length; index += 3) sum += luma(data, index);
  blendWithGray(image, Math.floor(sum / (data.length / 3) + 0.5), factor);
}

/** Pillow's Color, torchvision's saturation: the degenerate image is the gray one. */
export function saturation(image: RgbImage, factor: number): void {
  if (factor === 1) return;
  const scaled = scaledDifferences(factor);
  const { data } = image;
  for (let index = 0; index < data.length; index += 3) {
    const gray = luma(data, index);
    data[index] = blend(gray, data[index]!, scaled);
    data[index + 1] = blend(gray, data[index + 1]!, scaled);
    data[index + 2] = blend(gray, data[index + 2]!, scaled);
  }
}

/** The degenerate image is smoothed by [1 1 1; 1 5 1; 1 1 1] / 13, except for the outermost pixels. */
export function sharpness(image: RgbImage, factor: number): void {
  if (factor === 1) return;
  const scaled = scaledDifferences(factor);
  const { width, height, data } = image;
  const stride = 3 * width;
  // Only the rows not yet overwritten and the one above are needed, so two rows are kept.
  let above = data.slice(0, stride);
  let row = new Uint8Array(stride);
  for (let y = 1; y < height - 1; y++) {
    const start = y * stride;
    row.set(data.subarray(start, start + stride));
    for (let x = 3; x < stride - 3; x++) {
      const below = start + stride + x;
      const center = row[x]!;
      const sum =
        above[x - 3]! +
        above[x]! +
        above[x + 3]! +
        row[x - 3]! +
        5 * center +
        row[x + 3]! +
        data[below - 3]! +
        data[below]! +
        data[below + 3]!;
      // The nearest whole number of sum / 13, which is never halfway between two.
      data[start + x] = blend(((sum + 6) / 13) | 0, center, scaled);
    }
    [above, row] = [row, above];
  }
}

/** Pillow's conversion to gray: ITU-R 601-2 luma in 16-bit fixed point. */
function luma(data: Uint8Array, index: number): number {
  const red = data[index]!;
  const green = data[index + 1]!;
  const blue = data[index + 2]!;
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

function blendWithGray(image: RgbImage, gray: number, factor: number): void {
  if (factor === 1) return;
  const scaled = scaledDifferences(factor);
  applyTables(
    image,
    byteTable((byte) => blend(gray, byte, scaled)),
  );
}

/** factor * d in float32 for the differences d = -255 ... 255 of two bytes, at d + 255. */
function scaledDifferences(factor: number): Float32Array {
  const rounded = Math.fround(factor);
  const scaled = new Float32Array(511);
  for (let index = 0; index < 511; index++) scaled[index] = rounded * (index - 255);
  return scaled;
}

function blend(degenerate: number, byte: number, scaled: Float32Array): number {
  const value = Math.fround(degenerate + scaled[byte - degenerate + 255]!);
  return value <= 0 ? 0 : value >= 255 ? 255 : value | 0;
}
