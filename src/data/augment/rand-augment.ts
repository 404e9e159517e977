/** RandAugment (https://arxiv.org/abs/1909.13719) as timm's rand_augment_transform and as RepVGGplus trains with it. */
import { usageError } from "../../errors.js";
import type { PixelTransform, Random } from "../types.js";
import { MEAN_COLOR, type Color } from "./colors.js";
import { below, normal } from "./distributions.js";
import { applyOperation, type OperationName } from "./operations.js";

export interface RandAugmentPolicy {
  readonly operations: readonly OperationName[];
  /** Operations drawn for each image, with replacement. */
  readonly layers: number;
  /** That an operation drawn is applied. */
  readonly probability: number;
  readonly magnitude: (random: Random) => number;
  /** Of pixels from outside of the image. */
  readonly fill: Color;
}

const GEOMETRY = ["ShearX", "ShearY", "TranslateXRel", "TranslateYRel"] as const;
const PLAIN: readonly OperationName[] = [
  ...(["AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize"] as const),
  ...(["SolarizeAdd", "Color", "Contrast", "Brightness", "Sharpness"] as const),
  ...GEOMETRY,
];
/** The same number of operations; each changes more with more magnitude. */
const INCREASING: readonly OperationName[] = [
  ...(["AutoContrast", "Equalize", "Invert", "Rotate", "PosterizeIncreasing"] as const),
  ...(["SolarizeIncreasing", "SolarizeAdd", "ColorIncreasing", "ContrastIncreasing"] as const),
  ...(["BrightnessIncreasing", "SharpnessIncreasing"] as const),
  ...GEOMETRY,
];

/** AUG.PRESET raug15 of the RepVGG repository: two operations always, their magnitudes uniform in 0 ... 14. */
const REPVGGPLUS: RandAugmentPolicy = {
  operations: [...PLAIN, "Cutout"],
  layers: 2,
  probability: 1,
  magnitude: (random) => below(random, 15),
  fill: [128, 128, 128],
};

const NOTATION = "rand-m9-n2-mstd0.5-inc1 (or raug15)";

/**
 * The policy of timm's notation "rand-m9-n2-mstd0.5-inc1", in any order and any of them absent:
 * m magnitude (10), n operations per image (2), mstd standard deviation of the magnitude (0; above 100: uniform from 0
 * to m), mmax the largest magnitude (10), inc1 the operations that grow with magnitude. Or "raug15", RepVGGplus'.
 */
export function parseRandAugment(spec: string): RandAugmentPolicy {
  if (spec === "raug15") return REPVGGPLUS;
  const [kind, ...sections] = spec.split("-");
  if (kind !== "rand") throw refused(spec, `"${kind}" is not known`);
  const values = new Map<string, number>();
  for (const section of sections) {
    const [, key, digits] = /^(m|n|mstd|mmax|inc)(\d+(?:\.\d+)?)$/.exec(section) ?? [];
    if (key === undefined) throw refused(spec, `"${section}" is not known`);
    if (values.has(key)) throw refused(spec, `"${key}" is there twice`);
    const value = Number(digits);
    if (key !== "mstd" && !Number.isInteger(value)) {
      throw refused(spec, `"${section}" is not a whole number`);
    }
    values.set(key, value);
  }
  const layers = values.get("n") ?? 2;
  if (layers < 1 || layers > 100) throw refused(spec, `n is ${layers}, not from 1 to 100`);
  const increasing = values.get("inc");
  // timm takes inc0 for inc1, so nobody can mean it.
  if (increasing !== undefined && increasing !== 1) {
    throw refused(spec, `inc is ${increasing}, not 1 (leave it out for the plain operations)`);
  }
  const magnitude = values.get("m") ?? 10;
  const deviation = values.get("mstd") ?? 0;
  const largest = values.get("mmax") ?? 10;
  return {
    operations: increasing === undefined ? PLAIN : INCREASING,
    layers,
    probability: 0.5,
    magnitude: (random) => {
      const drawn = deviation > 100 ? magnitude * random() : magnitude + deviation * normal(random);
      return Math.min(largest, Math.max(0, drawn));
    },
    fill: MEAN_COLOR,
  };
}

/** The operations for one image, in order, with their magnitudes. */
export function drawOperations(
  policy: RandAugmentPolicy,
  random: Random,
): readonly { readonly name: OperationName; readonly magnitude: number }[] {
  const { operations, layers, probability } = policy;
  return Array.from({ length: layers }, () => {
    const name = operations[below(random, operations.length)];
    const applied = random() < probability;
    const magnitude = policy.magnitude(random);
    return name !== undefined && applied ? [{ name, magnitude }] : [];
  }).flat();
}

/** Applies a few random operations to each image. */
export function randAugment(spec: string): PixelTransform {
  const policy = parseRandAugment(spec);
  return (image, random) => {
    for (const { name, magnitude } of drawOperations(policy, random)) {
      applyOperation(name, image, magnitude, { random, fill: policy.fill });
    }
  };
}

function refused(spec: string, problem: string) {
  return usageError(`RandAugment "${spec}": ${problem}; write it as ${NOTATION}`);
}
