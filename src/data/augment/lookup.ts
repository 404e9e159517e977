/** Changes that map every byte of a channel to another one. */
import type { RgbImage } from "../types.js";

/** Maps R, G and B by a table of 256 bytes each; `green` and `blue` are `red` where absent. */
export function applyTables(
  image: RgbImage,
  red: Uint8Array,
  green: Uint8Array = red,
  blue: Uint8Array = red,
): void {
  const { data } = image;
  for (let index = 0; index < data.length; index += 3) {
    data[index] = red[data[index]!]!;
    data[index + 1] = green[data[index + 1]!]!;
    data[index + 2] = blue[data[index + 2]!]!;
  }
}

/** The table of a function of a byte; results are cut to whole numbers, which must be bytes. */
export function byteTable(value: (byte: number) => number): Uint8Array {
  const table = new Uint8Array(256);
  for (let byte = 0; byte < 256; byte++) table[byte] = value(byte);
  return table;
}

/** How often each byte occurs in a channel (0 red, 1 green, 2 blue). */
export function histogram(image: RgbImage, channel: number): Uint32Array {
  const counts = new Uint32Array(256);
  const { data } = image;
  for (let index = channel; index < data.length; index += 3) {
    const byte = data[index]!;
    counts[byte] = counts[byte]! + 1;
  }
  return counts;
}
