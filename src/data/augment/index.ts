/** The augmentations of pixels, after crop and flip: all in place on bytes, each with its own numbers. */
import type { PixelTransform, Random, RgbImage } from "../types.js";
import { colorJitter } from "./color-jitter.js";
import { lighting } from "./lighting.js";
import type { AugmentOptions } from "./options.js";
import { randAugment } from "./rand-augment.js";
import { randomErasing } from "./random-erasing.js";

export * from "./options.js";

/** Independent random numbers for each name: always the same for the same image, epoch and seed. */
export type RandomStreams = (name: string) => Random;

/** Changes an image's pixels in place, each transform with the stream of its own name. */
export type AugmentTransform = (image: RgbImage, stream: RandomStreams) => void;

/**
 * The transform of training images, or undefined where nothing is to be done. The order is timm's: RandAugment, color
 * jitter, lighting, erasing. A stream per transform keeps the others as they are when one is switched on.
 */
export function trainingPixelTransform(options: AugmentOptions): AugmentTransform | undefined {
  const steps: (readonly [name: string, transform: PixelTransform])[] = [];
  if (options.randAugment !== undefined) {
    steps.push(["rand-augment", randAugment(options.randAugment)]);
  }
  if (options.colorJitter !== undefined) {
    steps.push(["color-jitter", colorJitter(options.colorJitter)]);
  }
  if (options.lighting !== undefined) steps.push(["lighting", lighting(options.lighting)]);
  if (options.randomErasing !== undefined) {
    steps.push(["random-erasing", randomErasing(options.randomErasing)]);
  }
  if (steps.length === 0) return undefined;
  return (image, stream) => {
    for (const [name, transform] of steps) transform(image, stream(name));
  };
}
