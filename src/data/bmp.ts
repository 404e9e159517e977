/** Windows and OS/2 bitmaps without compression, as Pillow 9.4 reads them (PIL/BmpImagePlugin.py). */
import { ImageFailure } from "./failure.js";
import { checkPixels, type ImageFile } from "./image-file.js";
import type { RgbImage } from "./types.js";

/** Values of the header's compression field. */
const RAW = 0;
const BITFIELDS = 3;

interface BmpHeader {
  readonly width: number;
  readonly height: number;
  readonly isTopDown: boolean;
  readonly bits: number;
  /** Positions in the file. */
  readonly paletteAt: number;
  readonly pixelsAt: number;
  readonly colors: number;
  readonly paletteEntryBytes: 3 | 4;
  /** Bits of red, green and blue in a pixel of 16 bits or more. */
  readonly masks: readonly [number, number, number];
}

/** Throws ImageFailure. `lenient`: what a truncated file lacks is black. */
export function readBmp(file: ImageFile, lenient: boolean): RgbImage {
  const { path, bytes } = file;
  const header = readHeader(file);
  const { width, height, bits } = header;
  checkPixels(path, width, height);
  const rowBytes = Math.floor((width * bits + 31) / 32) * 4;
  const isTruncated = header.pixelsAt + rowBytes * height > bytes.length;
  if (isTruncated && !lenient) throw truncated(path);
  const data = new Uint8Array(width * height * 3);
  const colorAt = bits <= 8 ? paletteColors(bytes, header) : maskedColors(bytes, header);
  for (let row = 0; row < height; row++) {
    const from = header.pixelsAt + row * rowBytes;
    if (from + rowBytes > bytes.length) break;
    const y = header.isTopDown ? row : height - 1 - row;
    for (let x = 0; x < width; x++) {
      const color = colorAt(from, x);
      const to = (y * width + x) * 3;
      data[to] = color >> 16;
      data[to + 1] = color >> 8;
      data[to + 2] = color;
    }
  }
  return { width, height, data };
}

function readHeader({ path, bytes }: ImageFile): BmpHeader {
  if (bytes.length < 26) throw truncated(path);
  const size = bytes.readUInt32LE(14);
  if (bytes.length < 14 + size) throw truncated(path);
  const isOs2 = size === 12;
  const width = isOs2 ? bytes.readUInt16LE(18) : bytes.readInt32LE(18);
  const signedHeight = isOs2 ? bytes.readUInt16LE(20) : bytes.readInt32LE(22);
  const height = Math.abs(signedHeight);
  if (width < 1 || height < 1) {
    throw new ImageFailure(path, "corrupt", `a bitmap of ${width} x ${height} pixels`);
  }
  const bits = bytes.readUInt16LE(isOs2 ? 24 : 28);
  if (![1, 4, 8, 16, 24, 32].includes(bits)) {
    throw unsupported(path, `a bitmap of ${bits} bits per pixel`);
  }
  const compression = isOs2 ? RAW : bytes.readUInt32LE(30);
  if (compression !== RAW && !(compression === BITFIELDS && bits > 8)) {
    throw unsupported(path, `a bitmap with compression ${compression}`);
  }
  const declared = isOs2 ? 0 : bytes.readUInt32LE(46);
  const paletteEntryBytes = isOs2 ? 3 : 4;
  const colors = bits > 8 ? 0 : Math.min(declared === 0 ? 2 ** bits : declared, 256);
  const paletteAt = 14 + size;
  // Some writers let the pixels begin at their palette.
  const offset = bytes.readUInt32LE(10);
  const behind = paletteAt + colors * paletteEntryBytes;
  return {
    width,
    height,
    isTopDown: signedHeight < 0,
    bits,
    paletteAt,
    pixelsAt: offset === 0 || (bits <= 8 && offset === paletteAt) ? behind : offset,
    colors,
    paletteEntryBytes,
    masks: compression === BITFIELDS ? readMasks(path, bytes) : defaultMasks(bits),
  };
}

function defaultMasks(bits: number): BmpHeader["masks"] {
  return bits === 16 ? [0x7c00, 0x3e0, 0x1f] : [0xff0000, 0xff00, 0xff];
}

/** In the header, or behind one of 40 bytes: at the same place. */
function readMasks(path: string, bytes: Buffer): BmpHeader["masks"] {
  if (bytes.length < 66) throw truncated(path);
  const bits = bytes.readUInt16LE(28);
  const masks = [54, 58, 62].map((at) => bytes.readUInt32LE(at)) as [number, number, number];
  if (masks.every((mask) => mask === 0)) return defaultMasks(bits);
  for (const mask of masks) {
    // A run of at most 8 ones.
    const width = 32 - Math.clz32(mask) - shiftOf(mask);
    if (mask === 0 || width > 8 || mask !== (2 ** width - 1) * 2 ** shiftOf(mask)) {
      throw unsupported(path, "a bitmap whose colours are laid out like this");
    }
  }
  return masks;
}

/** Colours 0xRRGGBB by the start of a row and the column. */
type Colors = (row: number, x: number) => number;

function paletteColors(
  bytes: Buffer,
  { bits, paletteAt, colors, paletteEntryBytes }: BmpHeader,
): Colors {
  // Pillow's palette is gray where the file defines none.
  const palette = Int32Array.from({ length: 256 }, (_, index) => index * 0x010101);
  for (let index = 0; index < colors; index++) {
    const at = paletteAt + index * paletteEntryBytes;
    if (at + 3 > bytes.length) break;
    palette[index] = bytes.readUIntLE(at, 3);
  }
  const perByte = 8 / bits;
  const mask = 2 ** bits - 1;
  return (row, x) => {
    const byte = bytes[row + Math.floor(x / perByte)]!;
    return palette[(byte >> (8 - bits * ((x % perByte) + 1))) & mask]!;
  };
}

function maskedColors(bytes: Buffer, { bits, masks }: BmpHeader): Colors {
  const pixelBytes = bits / 8;
  const bands = masks.map((mask) => {
    const shift = shiftOf(mask);
    return { mask, shift, most: mask >>> shift };
  });
  return (row, x) => {
    const pixel = bytes.readUIntLE(row + x * pixelBytes, pixelBytes);
    let color = 0;
    for (const { mask, shift, most } of bands) {
      const value = (pixel & mask) >>> shift;
      color = (color << 8) | Math.trunc((value * 255) / most);
    }
    return color;
  };
}

/** Zeros below the lowest one. */
function shiftOf(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}

function truncated(path: string): ImageFailure {
  return new ImageFailure(path, "truncated", "the end of the file is missing");
}

function unsupported(path: string, what: string): ImageFailure {
  return new ImageFailure(path, "unsupported", `${what} is not read; save it as PNG`);
}
