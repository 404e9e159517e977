/** A turn of the colour circle as torchvision does it on PIL images: through Pillow's HSV bytes, to the bit. */
import type { RgbImage } from "../types.js";

/**
 * Adds `factor` turns, in [-0.5, 0.5], to the hue. Even a turn of 0 rounds colours to HSV bytes and back, as there.
 * The arithmetic is that of rgb2hsv_row and hsv2rgb in Pillow's Convert.c, floats and doubles included.
 */
export function hue(image: RgbImage, factor: number): void {
  // numpy.uint8(factor * 255) cuts off the fraction and wraps around, and so does the sum with a byte.
  const shift = Math.trunc(factor * 255);
  const { data } = image;
  for (let index = 0; index < data.length; index += 3) {
    const red = data[index]!;
    const green = data[index + 1]!;
    const blue = data[index + 2]!;
    const max = Math.max(red, green, blue);
    const range = max - Math.min(red, green, blue);
    if (range === 0) continue;
    const share = SHARES[(Math.fround(range / max) * 255) | 0]!;
    const turned = (hueByte(red, green, blue, max, range) + shift) & 255;
    const part = share * FRACTIONS[turned]!;
    const rest = share * (1 - FRACTIONS[turned]!);
    const low = (max * (1 - share) + 0.5) | 0;
    const falling = (max * (1 - part) + 0.5) | 0;
    const rising = (max * (1 - rest) + 0.5) | 0;
    switch (SECTORS[turned]!) {
      case 0:
        write(data, index, max, rising, low);
        break;
      case 1:
        write(data, index, falling, max, low);
        break;
      case 2:
        write(data, index, low, max, rising);
        break;
      case 3:
        write(data, index, low, falling, max);
        break;
      case 4:
        write(data, index, rising, low, max);
        break;
      default: // 5
        write(data, index, max, low, falling);
        break;
    }
  }
}

/** Of a byte of saturation in 255. */
const SHARES = Float32Array.from({ length: 256 }, (_, byte) => byte / 255);
/** Which sixth of the colour circle a byte of hue is in, and how far. */
const SECTORS = Uint8Array.from({ length: 256 }, (_, byte) => Math.floor((byte * 6) / 255) % 6);
const FRACTIONS = Float32Array.from(
  { length: 256 },
  (_, byte) => (byte * 6) / 255 - Math.floor((byte * 6) / 255),
);

function hueByte(red: number, green: number, blue: number, max: number, range: number): number {
  const fromRed = Math.fround((max - red) / range);
  const fromGreen = Math.fround((max - green) / range);
  const fromBlue = Math.fround((max - blue) / range);
  const sextant =
    red === max
      ? fromBlue - fromGreen
      : green === max
        ? 2 + fromRed - fromBlue
        : 4 + fromGreen - fromRed;
  const turns = Math.fround(sextant) / 6 + 1;
  return (Math.fround(turns >= 1 ? turns - 1 : turns) * 255) | 0;
}

function write(data: Uint8Array, index: number, red: number, green: number, blue: number): void {
  data[index] = red;
  data[index + 1] = green;
  data[index + 2] = blue;
}
