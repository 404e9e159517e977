/** One image, from its file to the pixels of a batch: what a worker of the loader calls. */
import { decodeImage, decodeJpeg, isTurned } from "./decode.js";
import { ImageFailure } from "./failure.js";
import { type ImageFile, readImageFile } from "./image-file.js";
import type { JpegAddon, JpegFailure } from "./jpeg/native.js";
import { readJpegHeader } from "./jpeg-header.js";
import { neededRegion, resample } from "./resample.js";
import { resizeWithSharp } from "./sharp-resize.js";
import type { ResizeKernel } from "./sharp.js";
import { sniffFormat } from "./sniff.js";
import type { Box, Place, Placement, RgbImage } from "./types.js";

/** What of the addon reads files. */
export type JpegReader = Pick<JpegAddon, "resampleJpeg">;

export interface ReadImageOptions {
  /** Accept files whose end is missing, as Pillow's LOAD_TRUNCATED_IMAGES does; false unless given. */
  readonly lenient?: boolean;
  /** Turn images upright after their EXIF tag; false unless given, as in torchvision's ImageFolder. */
  readonly exifOrientation?: boolean;
  /** "pil" (unless given) is exact; the others are sharp's own kernels, which are not. */
  readonly resize?: "pil" | ResizeKernel;
  /** The native path for JPEG files: the same bytes, sooner. */
  readonly jpeg?: JpegReader;
}

/**
 * Writes the placed window of the image at `path` to `out`, window height x width x 3 bytes. Throws
 * ImageFailure for a file that cannot be used. `place` is called at most once.
 */
export async function readImage(
  path: string,
  place: Place,
  out: Uint8Array,
  options: ReadImageOptions = {},
): Promise<void> {
  const file = readImageFile(path);
  const { lenient = false, exifOrientation: upright = false } = options;
  const format = sniffFormat(file.bytes);
  if (format === undefined) {
    throw new ImageFailure(path, "not-an-image", "is not an image of a known format");
  }
  if (format === "jpeg") {
    await readJpeg(file, place, out, options);
    return;
  }
  const image = await decodeImage(file, format, { lenient, upright });
  await resize(path, image, whole(image), place(image.width, image.height), out, options);
}

async function readJpeg(
  file: ImageFile,
  place: Place,
  out: Uint8Array,
  options: ReadImageOptions,
): Promise<void> {
  const { lenient = false, exifOrientation = false, jpeg } = options;
  const header = readJpegHeader(file);
  if (exifOrientation && header.hasExif && (await isTurned(file))) {
    const image = await decodeJpeg(file, header, whole(header), { lenient, upright: true });
    await resize(file.path, image, whole(image), place(image.width, image.height), out, options);
    return;
  }
  const placement = place(header.width, header.height);
  const isExact = (options.resize ?? "pil") === "pil";
  const isNative = isExact && jpeg !== undefined && header.isWhole;
  if (isNative && readNatively(jpeg, file, placement, out)) return;
  const region = isExact ? neededRegion(placement) : placement.box;
  const image = await decodeJpeg(file, header, region, { lenient });
  await resize(file.path, image, region, placement, out, options);
}

/** False where the other path must be taken. */
function readNatively(
  jpeg: JpegReader,
  { path, bytes }: ImageFile,
  { box, width, height, window, flip }: Placement,
  out: Uint8Array,
): boolean {
  const numbers = [
    ...[box.left, box.top, box.width, box.height, width, height],
    ...[window.left, window.top, window.width, window.height, Number(flip)],
  ];
  const failure = jpeg.resampleJpeg(bytes, Int32Array.from(numbers), out);
  if (failure === "unsupported") return false;
  if (failure !== undefined) throw new ImageFailure(path, failure, REASONS[failure]);
  return true;
}

const REASONS: Readonly<Record<Exclude<JpegFailure, "unsupported">, string>> = {
  truncated: "the end of the file is missing",
  corrupt: "the JPEG data is damaged",
  "too-large": "has more pixels than are safe to decode",
};

async function resize(
  path: string,
  image: RgbImage,
  region: Box,
  placement: Placement,
  out: Uint8Array,
  { resize: kernel = "pil" }: ReadImageOptions,
): Promise<void> {
  if (kernel === "pil") resample(image, region, placement, out);
  else await resizeWithSharp(path, image, region, placement, out, kernel);
}

function whole({ width, height }: { readonly width: number; readonly height: number }): Box {
  return { left: 0, top: 0, width, height };
}
