import { describe, expect, test } from "@jest/globals";

import { colorJitter } from "../../../src/data/augment/color-jitter.js";
import { brightness, contrast, saturation } from "../../../src/data/augment/enhance.js";
import { hue } from "../../../src/data/augment/hue.js";
import type { ColorJitterOptions } from "../../../src/data/augment/options.js";
import type { Random, RgbImage } from "../../../src/data/types.js";
import {
  CHI_SQUARE_LIMIT,
  chiSquareScore,
  collect,
  copyOf,
  countBy,
  imageOf,
  KS_LIMIT,
  ksDistance,
  noise,
  seeded,
} from "./samples.js";

const ADJUSTMENTS = [brightness, contrast, saturation, hue] as const;

const ORDERS: readonly (readonly number[])[] = [0, 1, 2, 3].flatMap((first) =>
  [0, 1, 2, 3].flatMap((second) =>
    [0, 1, 2, 3].flatMap((third) => {
      const order = [first, second, third, 6 - first - second - third];
      return new Set(order).size === 4 ? [order] : [];
    }),
  ),
);

/** Remembers the numbers drawn; the last four are those of the factors. */
function recorded(random: Random): { random: Random; drawn: number[] } {
  const drawn: number[] = [];
  return {
    drawn,
    random: () => {
      const value = random();
      drawn.push(value);
      return value;
    },
  };
}

function jittered(options: ColorJitterOptions, image: RgbImage, random: Random): Uint8Array {
  const copy = copyOf(image);
  colorJitter(options)(copy, random);
  return copy.data;
}

describe("the distribution is torchvision's", () => {
  test("brightness's factor is uniform in [0.6, 1.4]", () => {
    const random = seeded(5);
    const gray = imageOf(1, 1, () => 180);
    const bytes = collect(4000, () => jittered({ brightness: 0.4 }, gray, random)[0]!);
    expect(Math.min(...bytes)).toBe(108);
    expect(Math.max(...bytes)).toBeGreaterThanOrEqual(250);
    // The byte is cut to a whole number, so half a level is added to it.
    const below = (byte: number) => (byte + 0.5 - 108) / (252 - 108);
    expect(ksDistance(bytes, below)).toBeLessThan(KS_LIMIT);
  });

  test("a reach above 1 starts at factor 0", () => {
    const random = seeded(6);
    const gray = imageOf(1, 1, () => 100);
    const bytes = collect(3000, () => jittered({ brightness: 1.5 }, gray, random)[0]!);
    expect(Math.min(...bytes)).toBe(0);
    expect(Math.max(...bytes)).toBeGreaterThan(247);
    // Uniform in [0, 2.5], neither in [-0.5, 2.5] nor folded: 40 % of the factors are below 1.
    expect(Math.abs(bytes.filter((byte) => byte < 100).length / 3000 - 0.4)).toBeLessThan(0.03);
  });

  test("the four adjustments come in each of the 24 orders equally often", () => {
    const random = seeded(7);
    const image = noise(6, 5);
    const options = { brightness: 0.4, contrast: 0.5, saturation: 0.6, hue: 0.4 };
    const orders = Array.from({ length: 360 }, () => {
      const record = recorded(random);
      const result = Buffer.from(jittered(options, image, record.random));
      const [b = 0, c = 0, s = 0, h = 0] = record.drawn.slice(-4);
      const factors = [0.6 + 0.8 * b, 0.5 + c, 0.4 + 1.2 * s, -0.4 + 0.8 * h];
      const fitting = ORDERS.filter((order) => {
        const copy = copyOf(image);
        for (const index of order) ADJUSTMENTS[index]!(copy, factors[index]!);
        return result.equals(copy.data);
      });
      // Orders can rarely be told apart by their rounding alone, but one must fit.
      expect(fitting.length).toBeGreaterThan(0);
      return fitting.length === 1 ? fitting[0]!.join("") : "ambiguous";
    });
    const counts = countBy(orders);
    expect(counts.get("ambiguous") ?? 0).toBeLessThan(10);
    counts.delete("ambiguous");
    expect(counts.size).toBe(24);
    expect(chiSquareScore([...counts.values()])).toBeLessThan(CHI_SQUARE_LIMIT);
  });
});

describe("what is off", () => {
  test.each([{}, { brightness: 0, contrast: 0, saturation: 0, hue: 0 }])(
    "%o changes nothing",
    (options) => {
      const image = noise(6, 5);
      expect(jittered(options, image, seeded(1))).toEqual(image.data);
    },
  );

  test("an adjustment draws the same numbers whether the others are on or off", () => {
    const gray = imageOf(3, 3, () => 77);
    // Contrast and saturation leave a gray image as it is.
    expect(jittered({ brightness: 0.4 }, gray, seeded(3))).toEqual(
      jittered({ brightness: 0.4, contrast: 0.3, saturation: 0.4 }, gray, seeded(3)),
    );
  });
});

test.each([
  [{ brightness: -0.1 }, "colorJitter.brightness: expected a number of at least 0, received -0.1"],
  [
    { contrast: Infinity },
    "colorJitter.contrast: expected a number of at least 0, received Infinity",
  ],
  [{ saturation: NaN }, "colorJitter.saturation: expected a number of at least 0, received NaN"],
  [{ hue: 0.6 }, "colorJitter.hue: expected a number from 0 to 0.5, received 0.6"],
])("%o is refused", (options, message) => {
  expect(() => colorJitter(options)).toThrow(message);
});
