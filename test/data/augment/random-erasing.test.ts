import { describe, expect, test } from "@jest/globals";

import type { RandomErasingOptions } from "../../../src/data/augment/options.js";
import { randomErasing } from "../../../src/data/augment/random-erasing.js";
import type { Random } from "../../../src/data/types.js";
import { deviation, imageOf, KS_LIMIT, ksDistance, mean, seeded } from "./samples.js";

const BACKGROUND = 1;

/** What one image lost: the erased rectangle and its colours, or undefined. */
function erase(options: RandomErasingOptions, random: Random, width = 60, height = 60) {
  const image = imageOf(width, height, () => BACKGROUND);
  randomErasing(options)(image, random);
  const { data } = image;
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  const colors: number[][] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = 3 * (y * width + x);
      const [red, green, blue] = [data[at]!, data[at + 1]!, data[at + 2]!];
      if (red === BACKGROUND && green === BACKGROUND && blue === BACKGROUND) continue;
      [left, top] = [Math.min(left, x), Math.min(top, y)];
      [right, bottom] = [Math.max(right, x), Math.max(bottom, y)];
      colors.push([red, green, blue]);
    }
  }
  if (colors.length === 0) return undefined;
  return { left, top, width: right - left + 1, height: bottom - top + 1, colors };
}

describe("rectangles are timm's", () => {
  const random = seeded(11);
  const boxes = Array.from({ length: 1000 }, () =>
    erase({ probability: 1, mode: "const" }, random)!,
  );

  test("they are solid", () => {
    for (const box of boxes) expect(box.colors).toHaveLength(box.width * box.height);
  });

  test("their area is uniform from 2 % to a third", () => {
    const areas = boxes.map((box) => (box.width * box.height) / 3600);
    // Long rectangles of a large area do not fit and are drawn again, which is why the limit is wider here.
    expect(ksDistance(areas, (area) => (area - 0.02) / (1 / 3 - 0.02))).toBeLessThan(
      1.5 * KS_LIMIT,
    );
    expect(Math.min(...areas)).toBeGreaterThan(0.015);
    expect(Math.max(...areas)).toBeLessThan(0.35);
  });

  test("the logarithm of height / width is uniform from log 0.3 to -log 0.3", () => {
    const ratios = boxes.map((box) => Math.log(box.height / box.width));
    const reach = -Math.log(0.3);
    expect(ksDistance(ratios, (ratio) => (ratio + reach) / (2 * reach))).toBeLessThan(
      1.5 * KS_LIMIT,
    );
  });

  test("they lie anywhere in the image, borders included", () => {
    const places = boxes.map((box) => (box.left + 0.5) / (60 - box.width + 1));
    expect(ksDistance(places, (place) => place)).toBeLessThan(KS_LIMIT);
    expect(boxes.some((box) => box.left === 0)).toBe(true);
    expect(boxes.some((box) => box.left + box.width === 60)).toBe(true);
    expect(boxes.some((box) => box.top === 0)).toBe(true);
    expect(boxes.some((box) => box.top + box.height === 60)).toBe(true);
  });
});

test("the probability is that of an image losing something", () => {
  const random = seeded(12);
  const erased = Array.from({ length: 2000 }, () => erase({ probability: 0.25 }, random, 12, 12));
  const share = erased.filter((box) => box !== undefined).length / 2000;
  expect(Math.abs(share - 0.25)).toBeLessThan(0.04);
  const never = Array.from({ length: 50 }, () => erase({ probability: 0 }, random, 12, 12));
  expect(never.every((box) => box === undefined)).toBe(true);
});

describe("fillings", () => {
  test("const is the mean colour", () => {
    const { colors } = erase({ probability: 1, mode: "const" }, seeded(1))!;
    expect(new Set(colors.map(String))).toEqual(new Set(["124,116,104"]));
  });

  test("rand is one colour, and another one for the next image", () => {
    const random = seeded(2);
    const options = { probability: 1, mode: "rand" } as const;
    const images = Array.from({ length: 5 }, () => erase(options, random)!.colors.map(String));
    for (const colors of images) expect(new Set(colors).size).toBe(1);
    expect(new Set(images.map((colors) => colors[0])).size).toBe(5);
  });

  test("pixel, the default, is noise of ImageNet's mean and deviation", () => {
    const random = seeded(3);
    const colors = Array.from(
      { length: 20 },
      () => erase({ probability: 1 }, random)?.colors ?? [],
    ).flat();
    expect(colors.length).toBeGreaterThan(5000);
    [
      [123.675, 58.395],
      [116.28, 57.12],
      [103.53, 57.375],
    ].forEach(([center, spread], channel) => {
      const values = colors.map((color) => color[channel]!);
      // Cut off at 0 and 255, about two deviations away.
      expect(Math.abs(mean(values) - center!)).toBeLessThan(3);
      expect(Math.abs(deviation(values) / spread! - 0.97)).toBeLessThan(0.03);
      expect(Math.min(...values)).toBe(0);
      expect(Math.max(...values)).toBe(255);
    });
    const [reds, greens] = [0, 1].map((channel) => colors.map((color) => color[channel]!));
    const product = reds!.map((red, index) => (red - mean(reds!)) * (greens![index]! - 116));
    expect(Math.abs(mean(product))).toBeLessThan(0.05 * 58 * 57);
  });
});

test("an image of one pixel is left alone", () => {
  expect(erase({ probability: 1 }, seeded(1), 1, 1)).toBeUndefined();
});

test("probabilities outside of [0, 1] are refused", () => {
  const message = "randomErasing.probability: expected a number from 0 to 1, received 1.5";
  expect(() => randomErasing({ probability: 1.5 })).toThrow(message);
  expect(() => randomErasing({ probability: NaN })).toThrow("received NaN");
});
