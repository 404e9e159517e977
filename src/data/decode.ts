/**
 * Decoding to the pixels that Pillow's `convert("RGB")` gives: gray is replicated, alpha dropped without
 * blending, of 16-bit colours the high byte taken, colour profiles ignored. sharp's decoders are
 * Pillow's (libjpeg-turbo, libpng, libwebp, libtiff), to the bit; only CMYK and 16-bit gray need a hand.
 */
import { types } from "node:util";

import { readBmp } from "./bmp.js";
import { ImageFailure } from "./failure.js";
import { type ImageFile, MAX_PIXELS } from "./image-file.js";
import type { JpegHeader } from "./jpeg-header.js";
import { readNetpbm } from "./netpbm.js";
import { type Sharp, sharp } from "./sharp.js";
import { type ImageFormat, lacksEnd } from "./sniff.js";
import type { Box, ImageFailureKind, RgbImage } from "./types.js";

export interface DecodeOptions {
  /** Accept files whose end is missing: Pillow's LOAD_TRUNCATED_IMAGES. */
  readonly lenient?: boolean;
  /** Turn the image after its EXIF tag. */
  readonly upright?: boolean;
}

/** Pixels `region` of a JPEG file; all of them where it is turned. Throws ImageFailure. */
export async function decodeJpeg(
  file: ImageFile,
  header: JpegHeader,
  region: Box,
  options: DecodeOptions = {},
): Promise<RgbImage> {
  const { lenient = false, upright = false } = options;
  if (!header.isWhole && !lenient) {
    throw new ImageFailure(file.path, "truncated", "the end of the file is missing");
  }
  const isPart = region.width < header.width || region.height < header.height;
  try {
    const image = open(file, options);
    if (upright) image.autoOrient();
    else if (isPart) image.extract(region);
    const rgb = await pixels(header.components === 4 ? fromCmyk(image) : fromRgb(image));
    if (!upright && (rgb.width !== region.width || rgb.height !== region.height)) {
      throw new Error("the JPEG header contradicts itself");
    }
    return rgb;
  } catch (error) {
    throw failure(file.path, error, !header.isWhole);
  }
}

/**
 * All pixels of a file of another format; a GIF's transparent ones are black, where Pillow has the colour
 * that they hide. Throws ImageFailure.
 */
export async function decodeImage(
  file: ImageFile,
  format: Exclude<ImageFormat, "jpeg">,
  options: DecodeOptions = {},
): Promise<RgbImage> {
  const { lenient = false, upright = false } = options;
  if (format === "bmp") return readBmp(file, lenient);
  if (format === "netpbm") return readNetpbm(file, lenient);
  try {
    const image = open(file, options).removeAlpha();
    if (upright) image.autoOrient();
    return await pixels((await isGray16(file, format)) ? fromGray16(image) : fromRgb(image));
  } catch (error) {
    throw failure(file.path, error, lacksEnd(file.bytes, format));
  }
}

/** Whether EXIF says that the image is not upright as it is stored. */
export async function isTurned(file: ImageFile): Promise<boolean> {
  try {
    const { orientation } = await open(file, { lenient: true }).metadata();
    return orientation !== undefined && orientation !== 1;
  } catch (error) {
    throw failure(file.path, error, false);
  }
}

function open({ bytes }: ImageFile, { lenient = false }: DecodeOptions): Sharp {
  return sharp(bytes, {
    ignoreIcc: true,
    // Pillow too accepts what libjpeg only warns about.
    failOn: lenient ? "none" : "truncated",
    limitInputPixels: MAX_PIXELS,
  });
}

/** Turns a pipeline's result into RGB. */
interface Rendering {
  readonly image: Sharp;
  readonly toRgb: (data: Buffer, channels: number) => Uint8Array;
}

/** sharp's output is sRGB unless told otherwise; each step that is not asked for is time saved. */
function fromRgb(image: Sharp): Rendering {
  return {
    image: image.raw(),
    toRgb: (data, channels) => {
      if (channels !== 3) throw new Error(`${channels} channels instead of 3`);
      return data;
    },
  };
}

/** Pillow opens 16-bit gray as 32-bit numbers; `convert("RGB")` clips those above 255. */
function fromGray16(image: Sharp): Rendering {
  return {
    image: image.toColourspace("grey16").raw({ depth: "ushort" }),
    toRgb: (data, channels) => {
      const samples = new Uint16Array(data.buffer, data.byteOffset, data.length / 2);
      const rgb = new Uint8Array((samples.length / channels) * 3);
      for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
        rgb.fill(Math.min(255, samples[from]!), to, to + 3);
      }
      return rgb;
    },
  };
}

/** R = k - round((255 - c) k / 255) of the stored, inverted ink; sharp gives the ink (Convert.c, cmyk2rgb). */
function fromCmyk(image: Sharp): Rendering {
  return {
    image: image.pipelineColourspace("cmyk").toColourspace("cmyk").raw(),
    toRgb: (data, channels) => {
      const rgb = new Uint8Array((data.length / channels) * 3);
      for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
        const light = 255 - data[from + 3]!;
        for (let band = 0; band < 3; band++) {
          const product = data[from + band]! * light + 128;
          rgb[to + band] = light - ((product + (product >> 8)) >> 8); // Pillow's MULDIV255
        }
      }
      return rgb;
    },
  };
}

async function pixels({ image, toRgb }: Rendering): Promise<RgbImage> {
  const { data, info } = await image.toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data: toRgb(data, info.channels) };
}

/** Also refuses what has no reading in 8 bits. */
async function isGray16(
  file: ImageFile,
  format: "png" | "webp" | "tiff" | "gif",
): Promise<boolean> {
  switch (format) {
    case "png":
      return file.bytes[24] === 16 && file.bytes[25] === 0; // IHDR's bit depth and colour type
    case "tiff": {
      const { depth, space, channels } = await open(file, { lenient: true }).metadata();
      const isKnown =
        (depth === "uchar" && (space === "srgb" || space === "b-w")) ||
        (depth === "ushort" && (space === "rgb16" || space === "grey16"));
      if (!isKnown) throw unsupported(file.path, `a TIFF of ${space}, ${depth} pixels`);
      return space === "grey16" && channels === 1;
    }
    case "webp":
    case "gif":
      return false;
  }
}

function unsupported(path: string, what: string): ImageFailure {
  return new ImageFailure(path, "unsupported", `${what} cannot be decoded`);
}

function failure(path: string, error: unknown, lacksEnd: boolean): ImageFailure {
  if (error instanceof ImageFailure) return error;
  const message = types.isNativeError(error) ? error.message : String(error);
  const kind = failureKind(message, lacksEnd);
  const [line] = message.replace(/^Input buffer has corrupt header:\s*/, "").split("\n");
  const reason =
    kind === "truncated" ? "the end of the file is missing" : line || "the header is damaged";
  return new ImageFailure(path, kind, reason, { cause: error });
}

function failureKind(message: string, lacksEnd: boolean): ImageFailureKind {
  if (/exceeds pixel limit/.test(message)) return "too-large";
  if (lacksEnd || /premature end|unexpected end/i.test(message)) return "truncated";
  // sharp's words for a damaged header; the first bytes were right.
  if (/Input buffer contains unsupported image format/.test(message)) return "corrupt";
  return /unsupported|not supported/i.test(message) ? "unsupported" : "corrupt";
}
