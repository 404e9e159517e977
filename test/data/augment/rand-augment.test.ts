import { describe, expect, test } from "@jest/globals";

import { affine, rotate } from "../../../src/data/augment/affine.js";
import { brightness, contrast, saturation, sharpness } from "../../../src/data/augment/enhance.js";
import {
  autoContrast,
  equalize,
  invert,
  posterize,
  solarize,
  solarizeAdd,
} from "../../../src/data/augment/image-ops.js";
import { applyOperation, type OperationName } from "../../../src/data/augment/operations.js";
import {
  drawOperations,
  parseRandAugment,
  randAugment,
} from "../../../src/data/augment/rand-augment.js";
import type { RgbImage } from "../../../src/data/types.js";
import {
  CHI_SQUARE_LIMIT,
  chiSquareScore,
  collect,
  copyOf,
  countBy,
  deviation,
  imageOf,
  KS_LIMIT,
  ksDistance,
  mean,
  noise,
  scripted,
  seeded,
} from "./samples.js";

const FILL = [124, 116, 104] as const;

describe("timm's notation", () => {
  test("names the plain or the increasing operations", () => {
    const common = ["AutoContrast", "Equalize", "Invert", "Rotate", "SolarizeAdd"];
    const geometry = ["ShearX", "ShearY", "TranslateXRel", "TranslateYRel"];
    const graded = ["Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness"];
    const { operations, layers, probability, fill } = parseRandAugment("rand-m9");
    expect(new Set(operations)).toEqual(new Set([...common, ...geometry, ...graded]));
    expect(operations).toHaveLength(15);
    expect({ layers, probability, fill }).toEqual({ layers: 2, probability: 0.5, fill: FILL });
    const increasing = parseRandAugment("rand-m9-n3-mstd0.5-inc1");
    expect(increasing.layers).toBe(3);
    expect(increasing.operations).toHaveLength(15);
    expect(new Set(increasing.operations)).toEqual(
      new Set([...common, ...geometry, ...graded.map((name) => `${name}Increasing`)]),
    );
  });

  test("gives the magnitude, its noise and its limit", () => {
    const draw = (spec: string, count = 4000) => {
      const random = seeded(8);
      return collect(count, () => parseRandAugment(spec).magnitude(random));
    };
    expect(new Set(draw("rand", 10))).toEqual(new Set([10]));
    expect(new Set(draw("rand-m7", 10))).toEqual(new Set([7]));
    // Above 10, magnitudes are cut off unless mmax allows them.
    expect(new Set(draw("rand-m15", 10))).toEqual(new Set([10]));
    expect(new Set(draw("rand-m15-mmax20", 10))).toEqual(new Set([15]));
    const noisy = draw("rand-mstd0.5-m5");
    expect(mean(noisy)).toBeCloseTo(5, 1);
    expect(deviation(noisy)).toBeCloseTo(0.5, 1);
    const cut = draw("rand-m9-mstd4");
    expect(Math.min(...cut)).toBe(0);
    expect(Math.max(...cut)).toBe(10);
    // P(N(9, 4) > 10) = 0.4013.
    expect(Math.abs(cut.filter((value) => value === 10).length / 4000 - 0.4013)).toBeLessThan(0.03);
    expect(ksDistance(draw("rand-m8-mstd101"), (value) => value / 8)).toBeLessThan(KS_LIMIT);
  });

  test.each([
    ["rnd-m9", '"rnd" is not known'],
    ["", '"" is not known'],
    ["rand-m9-w0", '"w0" is not known'],
    ["rand-m", '"m" is not known'],
    ["rand--m9", '"" is not known'],
    ["rand-m9-m8", '"m" is there twice'],
    ["rand-m9.5", '"m9.5" is not a whole number'],
    ["rand-n0", "n is 0, not from 1 to 100"],
    ["rand-n1000000", "n is 1000000, not from 1 to 100"],
    ["rand-inc0", "inc is 0, not 1 (leave it out for the plain operations)"],
  ])("%j is refused", (spec, problem) => {
    expect(() => parseRandAugment(spec)).toThrow(
      `RandAugment "${spec}": ${problem}; write it as rand-m9-n2-mstd0.5-inc1 (or raug15)`,
    );
  });
});

describe("draws", () => {
  test("each operation equally often, each applied with probability 0.5", () => {
    const random = seeded(9);
    const policy = parseRandAugment("rand-m9-n3-mstd0.5-inc1");
    const images = Array.from({ length: 4000 }, () => drawOperations(policy, random));
    const names = images.flat().map(({ name }) => name);
    expect(Math.abs(names.length / 12000 - 0.5)).toBeLessThan(0.02);
    const counts = countBy(names);
    expect(counts.size).toBe(15);
    expect(chiSquareScore([...counts.values()])).toBeLessThan(CHI_SQUARE_LIMIT);
    // Binomial(3, 0.5): 1/8, 3/8, 3/8, 1/8 of the images.
    const applied = countBy(images.map(({ length }) => length));
    [0.125, 0.375, 0.375, 0.125].forEach((share, length) => {
      expect(Math.abs(applied.get(length)! / 4000 - share)).toBeLessThan(0.03);
    });
  });

  test("raug15 always applies two of 16, with magnitudes of 0 to 14", () => {
    const random = seeded(10);
    const policy = parseRandAugment("raug15");
    const images = Array.from({ length: 3000 }, () => drawOperations(policy, random));
    expect(images.every(({ length }) => length === 2)).toBe(true);
    const names = countBy(images.flat().map(({ name }) => name));
    expect(names.size).toBe(16);
    expect(names.has("Cutout")).toBe(true);
    expect(chiSquareScore([...names.values()])).toBeLessThan(CHI_SQUARE_LIMIT);
    const magnitudes = countBy(images.flat().map(({ magnitude }) => magnitude));
    expect([...magnitudes.keys()].toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 15 }, (_, index) => index),
    );
    expect(chiSquareScore([...magnitudes.values()])).toBeLessThan(CHI_SQUARE_LIMIT);
    expect(policy.fill).toEqual([128, 128, 128]);
  });
});

type Change = (image: RgbImage) => void;

/** What an operation does at magnitude 9 (or another), given its random numbers. */
const MEANINGS: readonly [OperationName, number, readonly number[], Change][] = [
  ["AutoContrast", 9, [], autoContrast],
  ["Equalize", 9, [], equalize],
  ["Invert", 9, [], invert],
  [
    "Rotate",
    9,
    [0.9, 0.1],
    (image) => {
      rotate(image, 27, "bilinear", FILL);
    },
  ],
  [
    "Rotate",
    9,
    [0.1, 0.9],
    (image) => {
      rotate(image, -27, "bicubic", FILL);
    },
  ],
  [
    "Posterize",
    9,
    [],
    (image) => {
      posterize(image, 3);
    },
  ],
  [
    "Posterize",
    2,
    [],
    (image) => {
      posterize(image, 0);
    },
  ],
  [
    "PosterizeIncreasing",
    9,
    [],
    (image) => {
      posterize(image, 1);
    },
  ],
  [
    "PosterizeIncreasing",
    30,
    [],
    (image) => {
      image.data.fill(0);
    },
  ],
  [
    "Solarize",
    9,
    [],
    (image) => {
      solarize(image, 230);
    },
  ],
  [
    "SolarizeIncreasing",
    9,
    [],
    (image) => {
      solarize(image, 26);
    },
  ],
  [
    "SolarizeAdd",
    9,
    [],
    (image) => {
      solarizeAdd(image, 99);
    },
  ],
  [
    "Color",
    9,
    [],
    (image) => {
      saturation(image, 1.72);
    },
  ],
  [
    "ColorIncreasing",
    9,
    [0.9],
    (image) => {
      saturation(image, 1.81);
    },
  ],
  [
    "ColorIncreasing",
    9,
    [0.1],
    (image) => {
      saturation(image, 0.19);
    },
  ],
  [
    "Contrast",
    9,
    [],
    (image) => {
      contrast(image, 1.72);
    },
  ],
  [
    "ContrastIncreasing",
    9,
    [0.1],
    (image) => {
      contrast(image, 0.19);
    },
  ],
  [
    "Brightness",
    9,
    [],
    (image) => {
      brightness(image, 1.72);
    },
  ],
  [
    "Brightness",
    14,
    [],
    (image) => {
      brightness(image, 2.62);
    },
  ],
  [
    "BrightnessIncreasing",
    9,
    [0.9],
    (image) => {
      brightness(image, 1.81);
    },
  ],
  [
    "BrightnessIncreasing",
    14,
    [0.1],
    (image) => {
      brightness(image, 0.1);
    },
  ],
  [
    "Sharpness",
    9,
    [],
    (image) => {
      sharpness(image, 1.72);
    },
  ],
  [
    "SharpnessIncreasing",
    9,
    [0.1],
    (image) => {
      sharpness(image, 0.19);
    },
  ],
  [
    "ShearX",
    9,
    [0.9, 0.1],
    (image) => {
      affine(image, [1, 0.27, 0, 0, 1, 0], "bilinear", FILL);
    },
  ],
  [
    "ShearX",
    9,
    [0.1, 0.9],
    (image) => {
      affine(image, [1, -0.27, 0, 0, 1, 0], "bicubic", FILL);
    },
  ],
  [
    "ShearY",
    9,
    [0.9, 0.1],
    (image) => {
      affine(image, [1, 0, 0, 0.27, 1, 0], "bilinear", FILL);
    },
  ],
  // Of a width of 20 and a height of 16 pixels.
  [
    "TranslateXRel",
    9,
    [0.9, 0.1],
    (image) => {
      affine(image, [1, 0, 0.405 * 20, 0, 1, 0], "bilinear", FILL);
    },
  ],
  [
    "TranslateYRel",
    9,
    [0.1, 0.9],
    (image) => {
      affine(image, [1, 0, 0, 0, 1, -0.405 * 16], "bicubic", FILL);
    },
  ],
];

describe("operations", () => {
  const source = noise(20, 16);

  test.each(MEANINGS)("%s at %d with %j", (name, magnitude, numbers, change) => {
    const actual = copyOf(source);
    applyOperation(name, actual, magnitude, { random: scripted(...numbers), fill: FILL });
    const expected = copyOf(source);
    change(expected);
    expect(actual.data).toEqual(expected.data);
  });

  test.each<OperationName>([
    ...(["Rotate", "SolarizeIncreasing", "SolarizeAdd", "ColorIncreasing"] as const),
    ...(["ContrastIncreasing", "BrightnessIncreasing", "SharpnessIncreasing"] as const),
    ...(["ShearX", "ShearY", "TranslateXRel", "TranslateYRel"] as const),
  ])("%s at 0 changes nothing", (name) => {
    for (const seed of [1, 2, 3, 4]) {
      const image = copyOf(source);
      applyOperation(name, image, 0, { random: seeded(seed), fill: FILL });
      expect(image.data).toEqual(source.data);
    }
  });

  test("Cutout paints a square, cut off at the border", () => {
    const context = (x: number, y: number) => ({ random: scripted(x, y), fill: FILL });
    const painted = (image: RgbImage) =>
      Array.from({ length: 320 }, (_, pixel) => pixel).filter(
        (pixel) => String(image.data.subarray(3 * pixel, 3 * pixel + 3)) === "125,122,113",
      );
    const inside = imageOf(20, 16, () => 0);
    // 1.6 pixels are at least 2; the centre is (10, 8).
    applyOperation("Cutout", inside, 0.4, context(0.5, 0.5));
    expect(painted(inside)).toEqual([7 * 20 + 9, 7 * 20 + 10, 8 * 20 + 9, 8 * 20 + 10]);
    const corner = imageOf(20, 16, () => 0);
    applyOperation("Cutout", corner, 2, context(0, 0));
    expect(painted(corner)).toEqual(
      [0, 1, 2, 3].flatMap((y) => [0, 1, 2, 3].map((x) => 20 * y + x)),
    );
  });
});

test("any image goes through, the same way for the same numbers", () => {
  const transform = randAugment("rand-m10-n6-mstd2-inc1");
  const random = seeded(20);
  for (const [width, height] of [
    [1, 1],
    [1, 7],
    [2, 3],
    [16, 16],
  ] as const) {
    for (let seed = 0; seed < 25; seed++) {
      const [first, second] = [noise(width, height, seed), noise(width, height, seed)];
      const numbers = collect(100, random);
      transform(first, scripted(...numbers));
      transform(second, scripted(...numbers));
      expect(first.data).toEqual(second.data);
      expect(first.data).toHaveLength(3 * width * height);
    }
  }
});
