/**
 * Where an image's pixels go, after torchvision 0.14's transforms (torchvision/transforms/transforms.py
 * and functional.py): Resize + CenterCrop for evaluation, RandomResizedCrop + RandomHorizontalFlip for
 * training. Only geometry: src/data/resample.ts moves the pixels.
 */
import { invalidArgument, usageError } from "../errors.js";
import type { Box, Place, Placement, Random } from "./types.js";

/** How often RandomResizedCrop draws a box before it settles for the centre. */
const ATTEMPTS = 10;

export interface RandomResizedCropOptions {
  /** Pixels, of the square that comes out. */
  readonly size: number;
  /** Smallest and largest area of the box, as a share of the image's. */
  readonly scale: readonly [number, number];
  /** Smallest and largest width / height of the box. */
  readonly ratio: readonly [number, number];
  /** Probability of mirroring. */
  readonly flip: number;
}

/** torchvision's defaults, which every recipe of the references uses. */
export const RANDOM_RESIZED_CROP: Omit<RandomResizedCropOptions, "size"> = {
  scale: [0.08, 1],
  ratio: [3 / 4, 4 / 3],
  flip: 0.5,
};

/** Resize(`resize`) of the shorter side, then CenterCrop(`crop`); both in pixels. */
export function evaluationPlacement(resize: number, crop: number): Place {
  checkSize("resize", resize);
  checkSize("crop", crop);
  if (crop > resize) {
    throw usageError(
      `crop ${crop} is larger than resize ${resize}: the border would be black; make resize at least ${crop}`,
    );
  }
  return (imageWidth, imageHeight) => {
    const short = Math.min(imageWidth, imageHeight);
    const scaled = (length: number): number => Math.trunc((resize * length) / short);
    const width = imageWidth === short ? resize : scaled(imageWidth);
    const height = imageHeight === short ? resize : scaled(imageHeight);
    return {
      box: { left: 0, top: 0, width: imageWidth, height: imageHeight },
      width,
      height,
      window: {
        left: roundHalfEven((width - crop) / 2),
        top: roundHalfEven((height - crop) / 2),
        width: crop,
        height: crop,
      },
      flip: false,
    };
  };
}

/** A box of random area and proportions, resized to a square and mirrored at random. */
export function randomResizedCrop(options: RandomResizedCropOptions, random: Random): Place {
  checkSize("size", options.size);
  checkRange("scale", options.scale);
  checkRange("ratio", options.ratio);
  if (!(options.flip >= 0 && options.flip <= 1)) {
    throw invalidArgument("flip", "a probability from 0 to 1", options.flip);
  }
  return (width, height) => {
    const box = randomBox(width, height, options, random);
    return boxPlacement(box, options.size, { flip: random() < options.flip });
  };
}

/** A box of the image, resized to `size` x `size` pixels. */
export function boxPlacement(
  box: Box,
  size: number,
  options: { readonly flip?: boolean } = {},
): Placement {
  return {
    box,
    width: size,
    height: size,
    window: { left: 0, top: 0, width: size, height: size },
    flip: options.flip ?? false,
  };
}

/** RandomResizedCrop.get_params. */
function randomBox(
  width: number,
  height: number,
  { scale, ratio }: RandomResizedCropOptions,
  random: Random,
): Box {
  const area = width * height;
  const uniform = (low: number, high: number): number => low + (high - low) * random();
  const below = (count: number): number => Math.floor(random() * count);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const target = area * uniform(scale[0], scale[1]);
    const aspect = Math.exp(uniform(Math.log(ratio[0]), Math.log(ratio[1])));
    const w = roundHalfEven(Math.sqrt(target * aspect));
    const h = roundHalfEven(Math.sqrt(target / aspect));
    if (w > 0 && w <= width && h > 0 && h <= height) {
      const top = below(height - h + 1);
      return { left: below(width - w + 1), top, width: w, height: h };
    }
  }
  return centreBox(width, height, ratio);
}

/** The largest box in the middle whose proportions are allowed. */
function centreBox(width: number, height: number, ratio: readonly [number, number]): Box {
  const proportion = width / height;
  let w = width;
  let h = height;
  // At least one pixel: a ratio above 2 would leave none of an image that is one pixel wide.
  if (proportion < ratio[0]) h = Math.max(1, roundHalfEven(width / ratio[0]));
  else if (proportion > ratio[1]) w = Math.max(1, roundHalfEven(height * ratio[1]));
  return {
    left: Math.floor((width - w) / 2),
    top: Math.floor((height - h) / 2),
    width: w,
    height: h,
  };
}

/** Python's round(): halves go to the even neighbour. For values that are not negative. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

function checkSize(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1 || value > 2 ** 15) {
    throw invalidArgument(name, "a whole number of pixels from 1 to 32768", value);
  }
}

function checkRange(name: string, [low, high]: readonly [number, number]): void {
  if (!(low > 0 && low <= high && high < Infinity)) {
    throw invalidArgument(name, "two positive numbers, the smaller first", [low, high]);
  }
}
