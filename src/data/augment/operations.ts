/** The operations of timm's RandAugment (timm/data/auto_augment.py), and what a level means to each. */
import type { Random, RgbImage } from "../types.js";
import { affine, rotate, type Interpolation } from "./affine.js";
import type { Color } from "./colors.js";
import { below } from "./distributions.js";
import { brightness, contrast, saturation, sharpness } from "./enhance.js";
import { autoContrast, equalize, invert, posterize, solarize, solarizeAdd } from "./image-ops.js";

export interface OperationContext {
  readonly random: Random;
  /** Of pixels from outside of the image. */
  readonly fill: Color;
}

/** `level` is 0 for the least and 1 for magnitude 10, and may be more. */
type Operation = (image: RgbImage, level: number, context: OperationContext) => void;
type Enhancement = (image: RgbImage, factor: number) => void;

const OPERATIONS = {
  AutoContrast: autoContrast,
  Equalize: equalize,
  Invert: invert,
  Rotate: (image, level, { random, fill }) => {
    rotate(image, signed(random, 30 * level), interpolation(random), fill);
  },
  // Up to 4 bits are kept: the higher the level, the less it changes.
  Posterize: (image, level) => {
    posterize(image, Math.trunc(4 * level));
  },
  PosterizeIncreasing: (image, level) => {
    posterize(image, 4 - Math.trunc(4 * level));
  },
  // The higher the level, the less it changes.
  Solarize: (image, level) => {
    solarize(image, Math.trunc(256 * level));
  },
  SolarizeIncreasing: (image, level) => {
    solarize(image, 256 - Math.trunc(256 * level));
  },
  SolarizeAdd: (image, level) => {
    solarizeAdd(image, Math.trunc(110 * level));
  },
  Color: fromBelow(saturation),
  ColorIncreasing: fromOne(saturation),
  Contrast: fromBelow(contrast),
  ContrastIncreasing: fromOne(contrast),
  Brightness: fromBelow(brightness),
  BrightnessIncreasing: fromOne(brightness),
  Sharpness: fromBelow(sharpness),
  SharpnessIncreasing: fromOne(sharpness),
  ShearX: (image, level, { random, fill }) => {
    const shear = signed(random, 0.3 * level);
    affine(image, [1, shear, 0, 0, 1, 0], interpolation(random), fill);
  },
  ShearY: (image, level, { random, fill }) => {
    const shear = signed(random, 0.3 * level);
    affine(image, [1, 0, 0, shear, 1, 0], interpolation(random), fill);
  },
  TranslateXRel: (image, level, { random, fill }) => {
    const shift = signed(random, 0.45 * level) * image.width;
    affine(image, [1, 0, shift, 0, 1, 0], interpolation(random), fill);
  },
  TranslateYRel: (image, level, { random, fill }) => {
    const shift = signed(random, 0.45 * level) * image.height;
    affine(image, [1, 0, 0, 0, 1, shift], interpolation(random), fill);
  },
  // Only in RepVGGplus' policy.
  Cutout: (image, level, { random }) => {
    cutOut(image, Math.trunc(Math.max(2, 40 * level)), random);
  },
} satisfies Readonly<Record<string, Operation>>;

export type OperationName = keyof typeof OPERATIONS;

/** Applies one operation in place; the magnitude 10 is the strongest of the paper. */
export function applyOperation(
  name: OperationName,
  image: RgbImage,
  magnitude: number,
  context: OperationContext,
): void {
  const operation: Operation = OPERATIONS[name];
  operation(image, magnitude / 10, context);
}

/** A factor from 0.1 to 1.9: 1 is in the middle of the levels. */
function fromBelow(enhance: Enhancement): Operation {
  return (image, level) => {
    enhance(image, 1.8 * level + 0.1);
  };
}

/** A factor away from 1, in either direction. */
function fromOne(enhance: Enhancement): Operation {
  return (image, level, { random }) => {
    enhance(image, Math.max(0.1, 1 + signed(random, 0.9 * level)));
  };
}

function signed(random: Random, value: number): number {
  return random() < 0.5 ? -value : value;
}

/** timm's "random" interpolation. */
function interpolation(random: Random): Interpolation {
  return random() < 0.5 ? "bilinear" : "bicubic";
}

/** Paints a square around a uniform centre, as RepVGG's train/cutout.py does, in its colour. */
function cutOut(image: RgbImage, size: number, random: Random): void {
  const half = Math.floor(size / 2);
  const x = below(random, image.width);
  const y = below(random, image.height);
  for (let row = Math.max(0, y - half); row < Math.min(image.height, y + half); row++) {
    for (let column = Math.max(0, x - half); column < Math.min(image.width, x + half); column++) {
      image.data.set([125, 122, 113], 3 * (row * image.width + column));
    }
  }
}
