/** torchvision's ColorJitter on PIL images: brightness, contrast, saturation and hue in random order. */
import { invalidArgument } from "../../errors.js";
import type { PixelTransform, Random, RgbImage } from "../types.js";
import { below, uniform } from "./distributions.js";
import { brightness, contrast, saturation } from "./enhance.js";
import { hue } from "./hue.js";
import type { ColorJitterOptions } from "./options.js";

interface Adjustment {
  readonly apply: (image: RgbImage, factor: number) => void;
  readonly low: number;
  readonly high: number;
}

/** Draws a new order, and a factor for each adjustment, for every image. */
export function colorJitter(options: ColorJitterOptions): PixelTransform {
  const adjustments: readonly Adjustment[] = [
    { apply: brightness, ...aroundOne("brightness", options.brightness) },
    { apply: contrast, ...aroundOne("contrast", options.contrast) },
    { apply: saturation, ...aroundOne("saturation", options.saturation) },
    { apply: hue, ...aroundZero(options.hue) },
  ];
  return (image, random) => {
    // As in torchvision, the order and all factors first.
    const order = permutation(random, adjustments.length);
    const factors = adjustments.map(({ low, high }) => uniform(random, low, high));
    for (const index of order) {
      const adjustment = adjustments[index];
      const factor = factors[index];
      if (adjustment === undefined || factor === undefined) continue;
      if (adjustment.low < adjustment.high) adjustment.apply(image, factor);
    }
  };
}

function aroundOne(name: string, reach = 0): { low: number; high: number } {
  if (!(reach >= 0 && reach < Infinity)) {
    throw invalidArgument(`colorJitter.${name}`, "a number of at least 0", reach);
  }
  return { low: Math.max(0, 1 - reach), high: 1 + reach };
}

function aroundZero(reach = 0): { low: number; high: number } {
  if (!(reach >= 0 && reach <= 0.5)) {
    throw invalidArgument("colorJitter.hue", "a number from 0 to 0.5", reach);
  }
  return { low: -reach, high: reach };
}

/** 0 ... count - 1 in random order (Fisher and Yates). */
function permutation(random: Random, count: number): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = below(random, last + 1);
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
