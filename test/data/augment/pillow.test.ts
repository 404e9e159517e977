/** Against Pillow, bit for bit: test/fixtures/augment, whose generate.py made them. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { describe, expect, test } from "@jest/globals";

import { affine, rotate } from "../../../src/data/augment/affine.js";
import { brightness, contrast, saturation, sharpness } from "../../../src/data/augment/enhance.js";
import { hue } from "../../../src/data/augment/hue.js";
import {
  autoContrast,
  equalize,
  invert,
  posterize,
  solarize,
  solarizeAdd,
} from "../../../src/data/augment/image-ops.js";
import type { RgbImage } from "../../../src/data/types.js";

interface Case {
  readonly operation: string;
  readonly arguments: readonly number[];
}
interface Expected {
  readonly width: number;
  readonly height: number;
  readonly fill: [number, number, number];
  readonly cases: readonly Case[];
  readonly cube: readonly (Case & { readonly sha256: string })[];
}

const folder = new URL("../../fixtures/augment/", import.meta.url);
const expected = JSON.parse(readFileSync(new URL("expected.json", folder), "utf8")) as Expected;
const bytes = new Uint8Array(readFileSync(new URL("expected.bin", folder)));
const { width, height, fill } = expected;

const OPERATIONS: Readonly<Record<string, (image: RgbImage, ...args: number[]) => void>> = {
  brightness,
  contrast,
  saturation,
  sharpness,
  hue,
  autoContrast,
  autoContrastOfDim: (image) => {
    brightness(image, 0.6);
    solarizeAdd(image, 20);
    autoContrast(image);
  },
  equalize,
  invert,
  posterize,
  solarize,
  solarizeAdd,
  bilinear: (image, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0) => {
    affine(image, [a, b, c, d, e, f], "bilinear", fill);
  },
  bicubic: (image, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0) => {
    affine(image, [a, b, c, d, e, f], "bicubic", fill);
  },
  rotateBilinear: (image, degrees = 0) => {
    rotate(image, degrees, "bilinear", fill);
  },
  rotateBicubic: (image, degrees = 0) => {
    rotate(image, degrees, "bicubic", fill);
  },
};

/** The source, then the result of each case. */
function stored(index: number): Uint8Array {
  const size = 3 * width * height;
  return bytes.slice(index * size, (index + 1) * size);
}

function apply({ operation, arguments: args }: Case, image: RgbImage): void {
  const apply = OPERATIONS[operation];
  if (apply === undefined) throw new Error(`no operation ${operation}`);
  apply(image, ...args);
}

/** Colours whose bytes are multiples of 5, red outermost. */
function colorCube(): RgbImage {
  const data = new Uint8Array(3 * 52 ** 3);
  for (let index = 0; index < 52 ** 3; index++) {
    data[3 * index] = 5 * Math.floor(index / 52 ** 2);
    data[3 * index + 1] = 5 * (Math.floor(index / 52) % 52);
    data[3 * index + 2] = 5 * (index % 52);
  }
  return { width: 52, height: 52 ** 2, data };
}

describe("pixels equal Pillow's", () => {
  test.each(
    expected.cases.map(
      (one, index) => [one.operation, one.arguments.join(", "), index, one] as const,
    ),
  )("%s(%s)", (_operation, _arguments, index, one) => {
    const image = { width, height, data: stored(0) };
    apply(one, image);
    expect(image.data).toEqual(stored(index + 1));
  });

  test.each(expected.cube.map((one) => [one.operation, one.arguments.join(", "), one] as const))(
    "%s(%s) of 140608 colours",
    (_operation, _arguments, one) => {
      const image = colorCube();
      apply(one, image);
      expect(createHash("sha256").update(image.data).digest("hex")).toBe(one.sha256);
    },
  );
});

test("the fixture changes the image in every case that is not an identity", () => {
  const unchanged = expected.cases.filter((_, index) =>
    Buffer.from(stored(index + 1)).equals(Buffer.from(stored(0))),
  );
  expect(unchanged.map((one) => `${one.operation} ${one.arguments.join()}`)).toEqual([
    "brightness 1",
    "contrast 1",
    "saturation 1",
    "sharpness 1",
    "autoContrast ",
    "solarize 256",
    "solarizeAdd 0",
    "rotateBilinear 0",
    "rotateBicubic 0",
  ]);
});
