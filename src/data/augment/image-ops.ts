/** What RandAugment takes from Pillow's ImageOps, to the bit. */
import type { RgbImage } from "../types.js";
import { applyTables, byteTable, histogram } from "./lookup.js";

/** Stretches each channel so that its darkest byte becomes 0 and its lightest 255. */
export function autoContrast(image: RgbImage): void {
  const table = (channel: number): Uint8Array => {
    const counts = histogram(image, channel);
    const low = counts.findIndex((count) => count > 0);
    const high = counts.findLastIndex((count) => count > 0);
    if (high <= low) return byteTable((byte) => byte);
    const scale = 255 / (high - low);
    const offset = -low * scale;
    return byteTable((byte) => Math.min(255, Math.max(0, byte * scale + offset)));
  };
  applyTables(image, table(0), table(1), table(2));
}

/** Makes the bytes of each channel about equally frequent. */
export function equalize(image: RgbImage): void {
  const table = (channel: number): Uint8Array => {
    const counts = histogram(image, channel);
    const last = counts.findLast((count) => count > 0) ?? 0;
    const step = Math.floor((image.width * image.height - last) / 255);
    // One colour alone, or so few pixels that there is nothing to spread.
    if (step === 0) return byteTable((byte) => byte);
    let sum = Math.floor(step / 2);
    return counts.reduce((bytes, count, byte) => {
      bytes[byte] = Math.min(255, Math.floor(sum / step));
      sum += count;
      return bytes;
    }, new Uint8Array(256));
  };
  applyTables(image, table(0), table(1), table(2));
}

export function invert(image: RgbImage): void {
  applyTables(
    image,
    byteTable((byte) => 255 - byte),
  );
}

/** Keeps the highest `bits` of every byte. */
export function posterize(image: RgbImage, bits: number): void {
  if (bits >= 8) return;
  const step = 2 ** (8 - bits);
  applyTables(
    image,
    byteTable((byte) => byte - (byte % step)),
  );
}

/** Inverts bytes of at least `threshold`. */
export function solarize(image: RgbImage, threshold: number): void {
  applyTables(
    image,
    byteTable((byte) => (byte < threshold ? byte : 255 - byte)),
  );
}

/** Adds to bytes below 128. */
export function solarizeAdd(image: RgbImage, addend: number): void {
  applyTables(
    image,
    byteTable((byte) => (byte < 128 ? Math.min(255, byte + addend) : byte)),
  );
}
