/** What a JPEG file's markers say before its pixels (ITU T.81, annex B), from bytes that may be hostile. */
import { ImageFailure } from "./failure.js";
import { checkPixels, type ImageFile } from "./image-file.js";

export interface JpegHeader {
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  /** 1 gray, 3 colours, 4 CMYK. */
  readonly components: 1 | 3 | 4;
  /** Whether there is a segment in which EXIF's orientation would be. */
  readonly hasExif: boolean;
  /** Whether the marker that ends the image is there. */
  readonly isWhole: boolean;
}

const EOI = Buffer.from([0xff, 0xd9]);

/** Throws ImageFailure where no decoder could go on. */
export function readJpegHeader({ path, bytes }: ImageFile): JpegHeader {
  let hasExif = false;
  let frame: Frame | undefined;
  let at = 2;
  for (;;) {
    // Before a marker, bytes that belong to nothing are skipped, as libjpeg does.
    while (at < bytes.length && bytes[at] !== 0xff) at++;
    while (at < bytes.length && bytes[at] === 0xff) at++;
    const marker = bytes[at++];
    if (marker === undefined) throw truncated(path);
    if (marker === 0x00 || marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue;
    if (marker === 0xd9) throw new ImageFailure(path, "corrupt", "a JPEG file without an image");
    if (at + 2 > bytes.length) throw truncated(path);
    const length = bytes.readUInt16BE(at);
    if (length < 2) throw corrupt(path);
    const end = at + length;
    if (end > bytes.length) throw truncated(path);
    const segment = bytes.subarray(at + 2, end);
    at = end;
    if (marker === 0xe1) hasExif ||= segment.toString("latin1", 0, 5) === "Exif\0";
    if (isFrame(marker)) frame ??= readFrame(path, marker, segment);
    if (marker === 0xda) {
      if (frame === undefined) throw corrupt(path);
      // In entropy-coded data 0xff is never followed by 0xd9, so this is the marker.
      return { ...frame, hasExif, isWhole: bytes.lastIndexOf(EOI) >= end };
    }
  }
}

type Frame = Pick<JpegHeader, "width" | "height" | "components">;

function isFrame(marker: number): boolean {
  const isTable = marker === 0xc4 || marker === 0xc8 || marker === 0xcc;
  return marker >= 0xc0 && marker <= 0xcf && !isTable;
}

function readFrame(path: string, marker: number, segment: Buffer): Frame {
  if (segment.length < 6) throw corrupt(path);
  const precision = segment[0]!;
  const height = segment.readUInt16BE(1);
  const width = segment.readUInt16BE(3);
  const components = segment[5]!;
  const isKnown = marker <= 0xc2 || marker === 0xc9 || marker === 0xca;
  if (!isKnown) throw unsupported(path, "a lossless or hierarchical JPEG");
  if (precision !== 8) throw unsupported(path, `a JPEG of ${precision} bits per sample`);
  if (width === 0 || height === 0) throw unsupported(path, `a JPEG of ${width} x ${height} pixels`);
  if (components !== 1 && components !== 3 && components !== 4) {
    throw unsupported(path, `a JPEG of ${components} components`);
  }
  if (segment.length < 6 + 3 * components) throw corrupt(path);
  checkPixels(path, width, height);
  return { width, height, components };
}

function truncated(path: string): ImageFailure {
  return new ImageFailure(path, "truncated", "the end of the file is missing");
}

function corrupt(path: string): ImageFailure {
  return new ImageFailure(path, "corrupt", "the JPEG header is damaged");
}

function unsupported(path: string, what: string): ImageFailure {
  return new ImageFailure(path, "unsupported", `${what} cannot be decoded`);
}
