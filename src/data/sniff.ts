/** Formats by their first bytes, never by the file's name: ImageNet has a PNG called .JPEG. */

/** Those that Pillow reads and image folders hold. What else a decoder may know is not offered to it. */
export type ImageFormat = "jpeg" | "png" | "webp" | "tiff" | "gif" | "bmp" | "netpbm";

/** Sizes of the headers that follow a BMP file's first 14 bytes. */
const BMP_HEADERS: readonly number[] = [12, 40, 52, 56, 64, 108, 124];

export function sniffFormat(bytes: Buffer): ImageFormat | undefined {
  const starts = (text: string, at = 0): boolean =>
    bytes.toString("latin1", at, at + text.length) === text;
  if (starts("\xff\xd8\xff")) return "jpeg";
  if (starts("\x89PNG\r\n\x1a\n")) return "png";
  if (starts("RIFF") && starts("WEBP", 8)) return "webp";
  if (starts("II*\0") || starts("MM\0*") || starts("II+\0") || starts("MM\0+")) return "tiff";
  if (starts("GIF87a") || starts("GIF89a")) return "gif";
  if (starts("BM") && bytes.length >= 18 && BMP_HEADERS.includes(bytes.readUInt32LE(14))) {
    return "bmp";
  }
  if (/^P[1-6][ \t\n\v\f\r]/.test(bytes.toString("latin1", 0, 3))) return "netpbm";
  return undefined;
}

/** Whether the file ends before its format says so. Called for JPEG before, for others after decoding. */
export function lacksEnd(bytes: Buffer, format: Exclude<ImageFormat, "jpeg">): boolean {
  switch (format) {
    case "png":
      return bytes.lastIndexOf("IEND", undefined, "latin1") < 0;
    case "webp":
      return bytes.length < 12 || bytes.readUInt32LE(4) + 8 > bytes.length;
    case "gif":
      return bytes.at(-1) !== 0x3b; // its trailer
    case "tiff":
      return tiffLacksEnd(bytes);
    case "bmp":
    case "netpbm":
      return false; // their readers know
  }
}

/** The directory, which tells where pixels are, often comes last. */
function tiffLacksEnd(bytes: Buffer): boolean {
  if (bytes.length < 16) return true;
  const little = bytes[0] === 0x49;
  const big = bytes[little ? 2 : 3] === 0x2b;
  if (big) {
    return (little ? bytes.readBigUInt64LE(8) : bytes.readBigUInt64BE(8)) + 8n > bytes.length;
  }
  const directory = little ? bytes.readUInt32LE(4) : bytes.readUInt32BE(4);
  if (directory + 2 > bytes.length) return true;
  const entries = little ? bytes.readUInt16LE(directory) : bytes.readUInt16BE(directory);
  return directory + 2 + entries * 12 > bytes.length;
}
