/**
 * Mixup (https://arxiv.org/abs/1710.09412) and CutMix (https://arxiv.org/abs/1905.04899) as timm's `Mixup` in its mode
 * "batch": one plan for a batch of n images, in which image i is mixed with image n - 1 - i.
 */
import { invalidArgument } from "../errors.js";
import { below, symmetricBeta } from "./augment/distributions.js";
import type { Box, Random } from "./types.js";

export interface MixingOptions {
  /** Alpha of mixup's Beta(alpha, alpha); 0 switches mixup off. */
  readonly mixup: number;
  /** Alpha of cutmix's Beta(alpha, alpha); 0 switches cutmix off. */
  readonly cutmix: number;
  /** That a batch is mixed at all; 1 where absent. */
  readonly probability?: number | undefined;
  /** Of cutmix where both are on; 0.5 where absent. */
  readonly switchProbability?: number | undefined;
}

/** How the images of one batch are mixed: plain data, so that pairs can be shared out to threads. */
export type MixPlan =
  | {
      readonly kind: "mixup";
      /** Of an image in its mixture, in [0, 1]. */
      readonly share: number;
    }
  | {
      readonly kind: "cutmix";
      /** Of an image's pixels that stay its own. */
      readonly share: number;
      /** What the two images of a pair swap. */
      readonly box: Box;
      /** Width and height of the images in pixels. */
      readonly size: number;
    };

/** Position of the image that image `index` of a batch is mixed with; the middle of an odd batch is its own. */
export function partnerOf(index: number, count: number): number {
  return count - 1 - index;
}

/** The plan of a batch of size x size images, or undefined where it is to stay as it is. */
export function planMixing(
  random: Random,
  options: MixingOptions,
  size: number,
): MixPlan | undefined {
  const { mixup, cutmix, probability = 1, switchProbability = 0.5 } = options;
  checkAlpha("mixup", mixup);
  checkAlpha("cutmix", cutmix);
  if (mixup === 0 && cutmix === 0) return undefined;
  if (random() >= probability) return undefined;
  const cut = cutmix > 0 && (mixup === 0 || random() < switchProbability);
  const share = symmetricBeta(random, cut ? cutmix : mixup);
  if (!cut) return { kind: "mixup", share };
  const box = randomBox(random, share, size);
  // A box at the border is cut off, so the share is taken from what is left of it.
  return { kind: "cutmix", share: 1 - (box.width * box.height) / (size * size), box, size };
}

/**
 * Mixes the two images of a pair with each other, in place: a = share a + (1 - share) b, and b likewise, rounded to the
 * nearest byte; or swaps the plan's box. Both arrays may be the same image, which then stays as it is.
 */
export function mixPair(a: Uint8Array, b: Uint8Array, plan: MixPlan): void {
  switch (plan.kind) {
    case "mixup":
      blendPair(a, b, plan.share);
      return;
    case "cutmix":
      swapBox(a, b, plan.box, plan.size);
      return;
  }
}

/** Mixed one-hot targets [N, classes]: `share` for the own class, the rest for the other's. */
export function mixedTargets(
  labels: Int32Array,
  otherLabels: Int32Array,
  share: number,
  numClasses: number,
): Float32Array {
  const targets = new Float32Array(labels.length * numClasses);
  const add = (row: number, label: number | undefined, value: number): void => {
    if (label === undefined || label < 0 || label >= numClasses) {
      throw invalidArgument("mixedTargets", `labels below ${numClasses}`, label);
    }
    const at = row * numClasses + label;
    targets[at] = targets[at]! + value;
  };
  labels.forEach((label, row) => {
    add(row, label, share);
    add(row, otherLabels[row], 1 - share);
  });
  return targets;
}

function checkAlpha(name: string, alpha: number): void {
  if (alpha >= 0 && alpha < Infinity) return;
  throw invalidArgument(name, "a number of at least 0", alpha);
}

/** timm's rand_bbox: a square of 1 - share of the area around a uniform centre, cut off at the borders. */
function randomBox(random: Random, share: number, size: number): Box {
  const half = Math.trunc(Math.trunc(size * Math.sqrt(1 - share)) / 2);
  const [top, bottom] = interval(below(random, size), half, size);
  const [left, right] = interval(below(random, size), half, size);
  return { left, top, width: right - left, height: bottom - top };
}

function interval(centre: number, half: number, size: number): readonly [number, number] {
  return [Math.max(0, centre - half), Math.min(size, centre + half)];
}

/** In float32 and rounding half to even, as timm's FastCollateMixup computes with numpy. */
function blendPair(a: Uint8Array, b: Uint8Array, share: number): void {
  const own = products(share);
  const other = products(1 - share);
  // Clamped arrays round to nearest, half to even.
  const clampedA = new Uint8ClampedArray(a.buffer, a.byteOffset, a.length);
  const clampedB = new Uint8ClampedArray(b.buffer, b.byteOffset, b.length);
  for (let index = 0; index < clampedA.length; index++) {
    const x = clampedA[index]!;
    const y = clampedB[index]!;
    clampedA[index] = Math.fround(own[x]! + other[y]!);
    clampedB[index] = Math.fround(own[y]! + other[x]!);
  }
}

/** Of every byte with the factor, in float32. */
function products(factor: number): Float32Array {
  const rounded = Math.fround(factor);
  const scaled = new Float32Array(256);
  for (let byte = 0; byte < 256; byte++) scaled[byte] = byte * rounded;
  return scaled;
}

function swapBox(a: Uint8Array, b: Uint8Array, box: Box, size: number): void {
  for (let y = box.top; y < box.top + box.height; y++) {
    const start = 3 * (y * size + box.left);
    const end = start + 3 * box.width;
    const row = a.slice(start, end);
    a.set(b.subarray(start, end), start);
    b.set(row, start);
  }
}
