/** Random erasing (https://arxiv.org/abs/1708.04896) as timm's RandomErasing with one rectangle. */
import { invalidArgument } from "../../errors.js";
import type { Box, PixelTransform, Random, RgbImage } from "../types.js";
import { IMAGENET_MEAN, IMAGENET_STD, MEAN_COLOR } from "./colors.js";
import { below, normal, uniform } from "./distributions.js";
import type { ErasingMode, RandomErasingOptions } from "./options.js";

/** Share of the image's area. */
const AREA = [0.02, 1 / 3] as const;
/** Height / width, uniform in its logarithm. */
const RATIO = [0.3, 1 / 0.3] as const;
const ATTEMPTS = 10;

/** Overwrites a rectangle of some images, as timm does after normalization, in bytes: rounded and cut off. */
export function randomErasing(options: RandomErasingOptions): PixelTransform {
  const { probability, mode = "pixel" } = options;
  if (!(probability >= 0 && probability <= 1)) {
    throw invalidArgument("randomErasing.probability", "a number from 0 to 1", probability);
  }
  return (image, random) => {
    if (random() >= probability) return;
    const box = randomBox(random, image);
    if (box !== undefined) fill(image, box, mode, random);
  };
}

/** Undefined where none of ten rectangles fits. */
function randomBox(random: Random, image: RgbImage): Box | undefined {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const area = uniform(random, ...AREA) * image.width * image.height;
    const ratio = Math.exp(uniform(random, Math.log(RATIO[0]), Math.log(RATIO[1])));
    const height = Math.round(Math.sqrt(area * ratio));
    const width = Math.round(Math.sqrt(area / ratio));
    if (width < image.width && height < image.height) {
      const top = below(random, image.height - height + 1);
      const left = below(random, image.width - width + 1);
      return { left, top, width, height };
    }
  }
  return undefined;
}

function fill(image: RgbImage, box: Box, mode: ErasingMode, random: Random): void {
  const color = fillColor(mode, random);
  for (let y = box.top; y < box.top + box.height; y++) {
    const start = 3 * (y * image.width + box.left);
    for (let index = start; index < start + 3 * box.width; index += 3) {
      const [red, green, blue] = color ?? randomColor(random);
      image.data[index] = red;
      image.data[index + 1] = green;
      image.data[index + 2] = blue;
    }
  }
}

/** Undefined where each pixel has its own. */
function fillColor(mode: ErasingMode, random: Random) {
  switch (mode) {
    case "const":
      return MEAN_COLOR;
    case "rand":
      return randomColor(random);
    case "pixel":
      return undefined;
  }
}

/** Standard normal in each channel once normalized. */
function randomColor(random: Random) {
  return [randomByte(random, 0), randomByte(random, 1), randomByte(random, 2)] as const;
}

function randomByte(random: Random, channel: 0 | 1 | 2): number {
  const value = IMAGENET_MEAN[channel] + IMAGENET_STD[channel] * normal(random);
  return Math.min(255, Math.max(0, Math.round(255 * value)));
}
