import { describe, expect, test } from "@jest/globals";

import {
  boxPlacement,
  evaluationPlacement,
  RANDOM_RESIZED_CROP,
  randomResizedCrop,
  roundHalfEven,
} from "../../src/data/placement.js";
import type { Random } from "../../src/data/types.js";
import { randomStream } from "../../src/util/random.js";

const TRAINING = { size: 224, ...RANDOM_RESIZED_CROP };

/** Random numbers from a list, and how many were taken. */
function scripted(...numbers: number[]): Random & { taken: () => number } {
  let taken = 0;
  return Object.assign(() => numbers[taken++] ?? NaN, { taken: () => taken });
}

describe("evaluationPlacement: Resize, CenterCrop", () => {
  test.each([
    // width, height, resized to, window's left and top
    [500, 375, 341, 256, 58, 16], // 256 * 500 / 375 = 341.33; (341 - 224) / 2 = 58.5 -> 58
    [375, 500, 256, 341, 16, 58],
    [334, 500, 256, 383, 16, 80], // (383 - 224) / 2 = 79.5 -> 80, the even one
    [256, 256, 256, 256, 16, 16],
    [68, 121, 256, 455, 16, 116], // (455 - 224) / 2 = 115.5 -> 116
    [1, 1, 256, 256, 16, 16],
    [1, 3000, 256, 768000, 16, 383888],
  ])("%i x %i pixels", (width, height, resizedWidth, resizedHeight, left, top) => {
    expect(evaluationPlacement(256, 224)(width, height)).toEqual({
      box: { left: 0, top: 0, width, height },
      width: resizedWidth,
      height: resizedHeight,
      window: { left, top, width: 224, height: 224 },
      flip: false,
    });
  });

  test("a crop larger than the resized image is refused with both numbers", () => {
    expect(() => evaluationPlacement(200, 224)).toThrow(/crop 224 is larger than resize 200/);
    expect(() => evaluationPlacement(0, 224)).toThrow(/resize: expected a whole number/);
    expect(() => evaluationPlacement(256, 1.5)).toThrow(/crop: expected a whole number/);
  });
});

describe("randomResizedCrop", () => {
  test("follows RandomResizedCrop.get_params number by number", () => {
    // area 0.08 + 0.92 * 0.25 = 0.31 of 187500; log ratio 0: 241.09 x 241.09
    const random = scripted(0.25, 0.5, 0.999, 0.25, 0.4);
    expect(randomResizedCrop(TRAINING, random)(500, 375)).toEqual({
      box: { top: 134, left: 65, width: 241, height: 241 }, // of 0..134 and 0..259
      width: 224,
      height: 224,
      window: { left: 0, top: 0, width: 224, height: 224 },
      flip: true,
    });
    expect(random.taken()).toBe(5);
  });

  test("the second number is the box's width / height, the third its top", () => {
    const wide = randomResizedCrop(TRAINING, scripted(0.25, 1, 0, 0.999, 0.5))(500, 375);
    // sqrt(58125 * 4/3) = 278.4, sqrt(58125 * 3/4) = 208.8
    expect(wide.box).toEqual({ width: 278, height: 209, top: 0, left: 222 });
    expect(wide.flip).toBe(false);
  });

  test.each([
    [1000, 100, { left: 433, top: 0, width: 133, height: 100 }],
    [100, 1000, { left: 0, top: 433, width: 100, height: 133 }],
    [300, 290, { left: 0, top: 0, width: 300, height: 290 }],
  ])("%i x %i: after ten boxes that do not fit, the centre", (width, height, box) => {
    // Each time the whole area at 4/3.
    const random = scripted(...Array<number>(20).fill(1), 0.9);
    expect(randomResizedCrop(TRAINING, random)(width, height).box).toEqual(box);
    expect(random.taken()).toBe(21);
  });

  test("boxes lie in the image; area, proportions, place and flips are spread as torchvision's", () => {
    const random = randomStream(1, "boxes");
    const place = randomResizedCrop(TRAINING, random);
    const draws = 20_000;
    let area = 0;
    let logRatio = 0;
    let flips = 0;
    let place01 = 0;
    let wrong = 0;
    for (let draw = 0; draw < draws; draw++) {
      const { box, flip } = place(1000, 1000);
      const ratio = box.width / box.height;
      const isWithin = box.left >= 0 && box.left + box.width <= 1000 && box.top >= 0;
      const isAllowed = ratio > 0.745 && ratio < 1.342;
      if (!isWithin || !isAllowed || box.top + box.height > 1000) wrong++;
      area += (box.width * box.height) / 1e6 / draws;
      logRatio += Math.log(ratio) / draws;
      flips += Number(flip) / draws;
      if (box.width < 1000) place01 += box.left / (1000 - box.width) / draws;
    }
    expect(wrong).toBe(0);
    // Boxes that do not fit are drawn again, which costs large ones: torchvision 0.14's own mean area of
    // 100 000 boxes is 0.478, not 0.54.
    expect(Math.abs(area - 0.478)).toBeLessThan(0.006);
    expect(Math.abs(logRatio)).toBeLessThan(0.006);
    expect(Math.abs(flips - 0.5)).toBeLessThan(0.012);
    expect(Math.abs(place01 - 0.5)).toBeLessThan(0.012);
  });

  test("options that make no box are refused", () => {
    const place = (options: Partial<typeof TRAINING>) => () =>
      randomResizedCrop({ ...TRAINING, ...options }, () => 0);
    expect(place({ flip: 1.5 })).toThrow(/flip: expected a probability from 0 to 1, received 1.5/);
    expect(place({ scale: [0.5, 0.1] })).toThrow(/scale: expected two positive numbers/);
    expect(place({ ratio: [0, 1] })).toThrow(/ratio: expected two positive numbers/);
    expect(place({ size: -1 })).toThrow(/size: expected a whole number/);
  });
});

test("boxPlacement keeps the whole resized box", () => {
  const box = { left: 3, top: 4, width: 50, height: 60 };
  expect(boxPlacement(box, 32, { flip: true })).toEqual({
    box,
    width: 32,
    height: 32,
    window: { left: 0, top: 0, width: 32, height: 32 },
    flip: true,
  });
});

test("roundHalfEven is Python's round", () => {
  const values = [0, 0.4, 0.5, 0.6, 1.5, 2.5, 3.5, 2.4999999999];
  expect(values.map(roundHalfEven)).toEqual([0, 0, 0, 1, 2, 2, 4, 2]);
});
