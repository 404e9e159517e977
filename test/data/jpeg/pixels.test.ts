// The native path's pixels: those of torchvision, of the portable path, and of decoding everything.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { expect, test } from "@jest/globals";

import { resample } from "../../../src/data/resample.js";
import type { Box, Placement } from "../../../src/data/types.js";
import { randomStream } from "../../../src/util/random.js";
import {
  decodedReferences,
  differenceFrom,
  IMAGES,
  noDifference,
  outputsOf,
  pixelDifference,
  placeOf,
} from "../../helpers/images.js";
import {
  decode,
  describeJpeg,
  jpegFixture,
  jpegFixtures,
  numbersOf,
  unchanged,
} from "../../helpers/jpeg-addon.js";

const JPEG = Buffer.from([0xff, 0xd8, 0xff]);
const random = randomStream(0, "jpeg");
/** From 1 to `most`. */
const size = (most: number): number => 1 + Math.floor(random() * most);
const offset = (most: number): number => Math.floor(random() * (most + 1));

function randomBox(width: number, height: number): Box {
  const box = { width: size(width), height: size(height) };
  return { left: offset(width - box.width), top: offset(height - box.height), ...box };
}

function randomPlacement(width: number, height: number): Placement {
  const box = randomBox(width, height);
  // Now and then an axis keeps its length.
  const resized = {
    width: random() < 0.2 ? box.width : size(random() < 0.5 ? 40 : 200),
    height: random() < 0.2 ? box.height : size(random() < 0.5 ? 40 : 200),
  };
  const window = randomBox(resized.width, resized.height);
  return { box, ...resized, window, flip: random() < 0.5 };
}

function crop(pixels: Uint8Array, width: number, box: Box): Uint8Array {
  const out = new Uint8Array(box.width * box.height * 3);
  for (let y = 0; y < box.height; y++) {
    const from = ((box.top + y) * width + box.left) * 3;
    out.set(pixels.subarray(from, from + box.width * 3), y * box.width * 3);
  }
  return out;
}

describeJpeg("decoding and resampling", (addon) => {
  const files = decodedReferences.filter(
    ([name]) =>
      name !== "cmyk.jpg" && readFileSync(`${IMAGES}/${name}`).subarray(0, 3).equals(JPEG),
  );

  test.each(files)("%s gives torchvision's bytes", (name, reference) => {
    const bytes = Uint8Array.from(readFileSync(`${IMAGES}/${name}`));
    const outputs = outputsOf(reference);
    expect(outputs.length).toBeGreaterThan(0);
    for (const output of outputs) {
      const placement = placeOf(output)(reference.width, reference.height);
      const { failure, pixels } = decode(addon, bytes, placement);
      const difference = differenceFrom(output, pixels);
      expect([output, failure, difference]).toEqual([output, undefined, undefined]);
    }
  });

  test.each(jpegFixtures)("%s gives Pillow's bytes", (name, { width, height, rgb_sha256 }) => {
    // Which rows and blocks are smoothed, libjpeg-turbo has changed its mind about.
    if (/-440|-incomplete/.test(name) && addon.describe().version !== "2.1.5") return;
    const whole = unchanged({ left: 0, top: 0, width, height });
    const { failure, pixels } = decode(addon, jpegFixture(name), whole);
    expect(failure).toBeUndefined();
    expect(createHash("sha256").update(pixels).digest("hex")).toBe(rgb_sha256);
  });

  test.each(jpegFixtures)("%s: any region is that of the whole", (name, { width, height }) => {
    const bytes = jpegFixture(name);
    const whole = decode(addon, bytes, unchanged({ left: 0, top: 0, width, height })).pixels;
    for (let i = 0; i < 300; i++) {
      const box = randomBox(width, height);
      const { failure, pixels } = decode(addon, bytes, unchanged(box));
      expectSame({ box, failure }, pixels, crop(whole, width, box));
    }
  });

  test.each(jpegFixtures)("%s: any placement is the portable path's", (name, { width, height }) => {
    const bytes = jpegFixture(name);
    const region = { left: 0, top: 0, width, height };
    const data = decode(addon, bytes, unchanged(region)).pixels;
    for (let i = 0; i < 60; i++) {
      const placement = randomPlacement(width, height);
      const expected = new Uint8Array(placement.window.width * placement.window.height * 3);
      resample({ width, height, data }, region, placement, expected);
      const { failure, pixels } = decode(addon, bytes, placement);
      expectSame({ placement, failure }, pixels, expected);
      addon.resample(data, width, height, numbersOf(placement), pixels.fill(0));
      expectSame({ placement, failure: undefined }, pixels, expected);
    }
  });
});

/** Says where two images differ, and of what; most do not, and are compared in no time. */
function expectSame(
  what: Readonly<Record<string, unknown>> & { readonly failure: unknown },
  actual: Uint8Array,
  expected: Uint8Array,
): void {
  if (what.failure === undefined && Buffer.compare(actual, expected) === 0) return;
  expect({ ...what, ...pixelDifference(actual, expected) }).toEqual({
    ...{ ...what, failure: undefined },
    ...noDifference(expected.length),
  });
}
