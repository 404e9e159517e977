/** Pillow's Image.transform(AFFINE), in its order of double operations. */
import type { RgbImage } from "../types.js";
import type { Color } from "./colors.js";

/** [a, b, c, d, e, f]: the pixel at (x, y) comes from (a x + b y + c, d x + e y + f). */
export type AffineMatrix = readonly [number, number, number, number, number, number];

export type Interpolation = "bilinear" | "bicubic";

/** Moves pixels; those from outside of the image take the colour `fill`. */
export function affine(
  image: RgbImage,
  matrix: AffineMatrix,
  interpolation: Interpolation,
  fill: Color,
): void {
  const { width, height, data } = image;
  const source = { width, height, data: data.slice() };
  const sample = SAMPLERS[interpolation];
  const [a, b, c, d, e, f] = matrix;
  const [red, green, blue] = fill;
  let out = 0;
  for (let row = 0; row < height; row++) {
    const yOut = row + 0.5;
    for (let column = 0; column < width; column++, out += 3) {
      const xOut = column + 0.5;
      const x = a * xOut + b * yOut + c;
      const y = d * xOut + e * yOut + f;
      if (x >= 0 && x < width && y >= 0 && y < height) {
        sample(source, x - 0.5, y - 0.5, data, out);
      } else {
        data[out] = red;
        data[out + 1] = green;
        data[out + 2] = blue;
      }
    }
  }
}

/** Counterclockwise around the centre. */
export function rotate(
  image: RgbImage,
  degrees: number,
  interpolation: Interpolation,
  fill: Color,
): void {
  const angle = (-degrees * Math.PI) / 180;
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const x = image.width / 2;
  const y = image.height / 2;
  const matrix: AffineMatrix = [cos, sin, -cos * x - sin * y + x, -sin, cos, sin * x - cos * y + y];
  affine(image, matrix, interpolation, fill);
}

/** Writes the colour at (x, y), where whole numbers are centres of pixels; the border is repeated outwards. */
type Sampler = (source: RgbImage, x: number, y: number, out: Uint8Array, at: number) => void;

const SAMPLERS: Readonly<Record<Interpolation, Sampler>> = { bilinear, bicubic };

/** Cut to whole numbers, not rounded, as in Pillow. */
function bilinear(source: RgbImage, x: number, y: number, out: Uint8Array, at: number): void {
  const { data, width, height } = source;
  const left = Math.floor(x);
  const top = Math.floor(y);
  const dx = x - left;
  const dy = y - top;
  const x0 = 3 * Math.max(left, 0);
  const x1 = 3 * Math.min(left + 1, width - 1);
  const row0 = 3 * width * Math.max(top, 0);
  const row1 = 3 * width * Math.min(top + 1, height - 1);
  for (let channel = 0; channel < 3; channel++) {
    const upper = between(data[row0 + x0 + channel]!, data[row0 + x1 + channel]!, dx);
    const lower = between(data[row1 + x0 + channel]!, data[row1 + x1 + channel]!, dx);
    out[at + channel] = between(upper, lower, dy);
  }
}

function between(start: number, end: number, part: number): number {
  return start + (end - start) * part;
}

/** Pillow's cubic here is Keys' with a = -1, unlike its resize's. */
function bicubic(source: RgbImage, x: number, y: number, out: Uint8Array, at: number): void {
  const { data, width, height } = source;
  const left = Math.floor(x);
  const top = Math.floor(y);
  const dx = x - left;
  const dy = y - top;
  const x0 = 3 * Math.max(left - 1, 0);
  const x1 = 3 * Math.max(left, 0);
  const x2 = 3 * Math.min(left + 1, width - 1);
  const x3 = 3 * Math.min(left + 2, width - 1);
  const row0 = 3 * width * Math.max(top - 1, 0);
  const row1 = 3 * width * Math.max(top, 0);
  const row2 = 3 * width * Math.min(top + 1, height - 1);
  const row3 = 3 * width * Math.min(top + 2, height - 1);
  for (let channel = 0; channel < 3; channel++) {
    const across = (row: number): number => {
      const start = row + channel;
      return cubic(data[start + x0]!, data[start + x1]!, data[start + x2]!, data[start + x3]!, dx);
    };
    const value = cubic(across(row0), across(row1), across(row2), across(row3), dy);
    out[at + channel] = value <= 0 ? 0 : value >= 255 ? 255 : value;
  }
}

/** At `part` of the way from v1 to v2, with neighbours v0 and v3. */
function cubic(v0: number, v1: number, v2: number, v3: number, part: number): number {
  const linear = -v0 + v2;
  const square = 2 * (v0 - v1) + v2 - v3;
  const cube = -v0 + v1 - v2 + v3;
  return v1 + part * (linear + part * (square + part * cube));
}
