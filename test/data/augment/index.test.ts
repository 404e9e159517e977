import { expect, test } from "@jest/globals";

import { colorJitter } from "../../../src/data/augment/color-jitter.js";
import {
  AUGMENTATIONS,
  trainingPixelTransform,
  type AugmentOptions,
} from "../../../src/data/augment/index.js";
import { lighting } from "../../../src/data/augment/lighting.js";
import { randAugment } from "../../../src/data/augment/rand-augment.js";
import { randomErasing } from "../../../src/data/augment/random-erasing.js";
import { copyOf, noise, seeded } from "./samples.js";

const SEEDS: Readonly<Record<string, number>> = {
  "rand-augment": 1,
  "color-jitter": 2,
  lighting: 3,
  "random-erasing": 4,
};

function transformed(options: AugmentOptions) {
  const image = noise(24, 24);
  const names: string[] = [];
  trainingPixelTransform(options)?.(image, (name) => {
    names.push(name);
    return seeded(SEEDS[name]!);
  });
  return { data: image.data, names };
}

test("weak has no transform, strong the DBB recipe's two", () => {
  expect(trainingPixelTransform(AUGMENTATIONS.weak)).toBeUndefined();
  const image = copyOf(noise(24, 24));
  colorJitter({ brightness: 0.4, saturation: 0.4, hue: 0.4 })(image, seeded(2));
  lighting(0.1)(image, seeded(3));
  const { data, names } = transformed(AUGMENTATIONS.strong);
  expect(names).toEqual(["color-jitter", "lighting"]);
  expect(data).toEqual(image.data);
});

test("everything at once is in timm's order, each with the stream of its own name", () => {
  const options = {
    randomErasing: { probability: 1 },
    lighting: 0.3,
    colorJitter: { brightness: 0.4 },
    randAugment: "rand-m9-n4-mstd0.5-inc1",
  };
  const image = copyOf(noise(24, 24));
  randAugment(options.randAugment)(image, seeded(1));
  colorJitter(options.colorJitter)(image, seeded(2));
  lighting(options.lighting)(image, seeded(3));
  randomErasing(options.randomErasing)(image, seeded(4));
  const { data, names } = transformed(options);
  expect(names).toEqual(["rand-augment", "color-jitter", "lighting", "random-erasing"]);
  expect(data).toEqual(image.data);
});

test("options survive JSON, as they do on their way to a worker thread", () => {
  const strong = JSON.parse(JSON.stringify(AUGMENTATIONS.strong)) as AugmentOptions;
  expect(transformed(strong).data).toEqual(transformed(AUGMENTATIONS.strong).data);
});

test("options that cannot be used are refused before the first image", () => {
  expect(() => trainingPixelTransform({ randAugment: "random" })).toThrow('RandAugment "random"');
  expect(() => trainingPixelTransform({ colorJitter: { hue: 1 } })).toThrow("colorJitter.hue");
});
