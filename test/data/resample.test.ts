import { describe, expect, test } from "@jest/globals";

import { boxPlacement, evaluationPlacement } from "../../src/data/placement.js";
import { neededRegion, resample } from "../../src/data/resample.js";
import type { Box, Placement, RgbImage } from "../../src/data/types.js";
import { randomStream } from "../../src/util/random.js";
import { noDifference, pixelDifference } from "../helpers/images.js";

function noise(width: number, height: number, name = "noise"): RgbImage {
  const random = randomStream(0, name);
  const data = Uint8Array.from({ length: width * height * 3 }, () => Math.floor(random() * 256));
  return { width, height, data };
}

function whole({ width, height }: RgbImage): Box {
  return { left: 0, top: 0, width, height };
}

function crop(image: RgbImage, box: Box): RgbImage {
  const data = new Uint8Array(box.width * box.height * 3);
  for (let y = 0; y < box.height; y++) {
    const from = ((box.top + y) * image.width + box.left) * 3;
    data.set(image.data.subarray(from, from + box.width * 3), y * box.width * 3);
  }
  return { width: box.width, height: box.height, data };
}

/** The rule as it is written, on one line of samples: no windows, no fixed loops. */
function resizeLine(line: readonly number[], size: number): number[] {
  if (line.length === size) return [...line];
  const scale = line.length / size;
  const support = Math.max(scale, 1);
  return Array.from({ length: size }, (_, x) => {
    const center = (x + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - support + 0.5));
    const high = Math.min(line.length, Math.trunc(center + support + 0.5));
    const inputs = line.slice(low, high);
    const weights = inputs.map((_sample, tap) =>
      Math.max(0, 1 - Math.abs((tap + low - center + 0.5) * (1 / support))),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    const fixed = weights.map((weight) => Math.trunc(0.5 + (weight / sum) * 4194304));
    const total = inputs.reduce((result, sample, tap) => result + sample * fixed[tap]!, 2097152);
    return Math.min(255, Math.max(0, Math.floor(total / 4194304)));
  });
}

/** Box, whole resize (width first), window, mirror. */
function expected(image: RgbImage, { box, width, height, window, flip }: Placement): Uint8Array {
  const source = crop(image, box);
  const sample = (data: ArrayLike<number>, columns: number, x: number, y: number, band: number) =>
    data[(y * columns + x) * 3 + band]!;
  const between = new Uint8Array(width * box.height * 3);
  const resized = new Uint8Array(width * height * 3);
  for (let band = 0; band < 3; band++) {
    for (let y = 0; y < box.height; y++) {
      const line = Array.from({ length: box.width }, (_, x) =>
        sample(source.data, box.width, x, y, band),
      );
      resizeLine(line, width).forEach((value, x) => (between[(y * width + x) * 3 + band] = value));
    }
    for (let x = 0; x < width; x++) {
      const line = Array.from({ length: box.height }, (_, y) => sample(between, width, x, y, band));
      resizeLine(line, height).forEach((value, y) => (resized[(y * width + x) * 3 + band] = value));
    }
  }
  const { data } = crop({ width, height, data: resized }, window);
  if (!flip) return data;
  const mirrored = new Uint8Array(data.length);
  for (let y = 0; y < window.height; y++) {
    for (let x = 0; x < window.width; x++) {
      const from = (y * window.width + x) * 3;
      mirrored.set(data.subarray(from, from + 3), (y * window.width + window.width - 1 - x) * 3);
    }
  }
  return mirrored;
}

function actual(image: RgbImage, placement: Placement, region = neededRegion(placement)) {
  const out = new Uint8Array(placement.window.width * placement.window.height * 3).fill(99);
  resample(crop(image, region), region, placement, out);
  return out;
}

describe("resample", () => {
  const sizes = { box: [1, 2, 3, 7, 31, 64, 90], to: [1, 2, 5, 16, 31, 40] };

  test("equals the rule for every pair of sizes, from no more than the needed region", () => {
    const random = randomStream(0, "placements");
    const below = (count: number) => Math.floor(random() * count);
    const image = noise(95, 97);
    const different: string[] = [];
    for (const from of sizes.box) {
      for (const to of sizes.to) {
        const box = { left: below(96 - from), top: below(11), width: from, height: 1 + below(86) };
        const height = 1 + below(40);
        const window = { left: below(to), top: below(height), width: 1, height: 1 };
        window.width += below(to - window.left);
        window.height += below(height - window.top);
        const placement = { box, width: to, height, window, flip: random() < 0.5 };
        const { differing } = pixelDifference(actual(image, placement), expected(image, placement));
        if (differing > 0) different.push(JSON.stringify(placement));
      }
    }
    expect(different).toEqual([]);
  });

  test.each([1, 1.5, 2.5, 3.5, 4.5, 7, 20])("reduced by %d, both ways", (scale) => {
    const size = 12;
    const image = noise(Math.round(size * scale), Math.round(size * scale) + 1);
    for (const flip of [false, true]) {
      const placement = boxPlacement(whole(image), size, { flip });
      const difference = pixelDifference(actual(image, placement), expected(image, placement));
      expect(difference).toEqual(noDifference(size * size * 3));
    }
  });

  test("a larger region than needed changes nothing", () => {
    const image = noise(60, 50);
    const box = { left: 10, top: 5, width: 30, height: 40 };
    const placement = {
      ...boxPlacement(box, 20),
      window: { left: 3, top: 6, width: 9, height: 8 },
    };
    const region = { left: 4, top: 2, width: 50, height: 45 };
    const result = actual(image, placement, region);
    expect(result).toEqual(expected(image, placement));
    expect(result).toEqual(actual(image, placement, whole(image)));
  });

  test("a size that is kept, and pixels outside of the box", () => {
    const image = noise(20, 20);
    const box = { left: 5, top: 6, width: 8, height: 8 };
    expect(actual(image, boxPlacement(box, 8))).toEqual(crop(image, box).data);
    const flipped = actual(image, boxPlacement(box, 8, { flip: true }));
    expect([...flipped.subarray(0, 3)]).toEqual([...crop(image, box).data.subarray(21, 24)]);
  });

  test("white stays white however many pixels become one", () => {
    // Millions of weights between 0.5 and 1 in fixed point, all rounded up, are 1.3 together.
    const count = 5_500_000;
    const data = new Uint8Array(count * 3).fill(255);
    for (const [width, height] of [
      [count, 1],
      [1, count],
    ] as const) {
      const line = { width, height, data };
      const out = new Uint8Array(3);
      resample(line, whole(line), boxPlacement(whole(line), 1), out);
      expect([...out]).toEqual([255, 255, 255]);
    }
  });

  test("what does not fit together is refused", () => {
    const image = noise(10, 10);
    const placement = boxPlacement({ left: 2, top: 2, width: 5, height: 5 }, 4);
    const out = new Uint8Array(48);
    const part = { left: 3, top: 2, width: 5, height: 5 };
    expect(() => resample(crop(image, part), part, placement, out)).toThrow(
      'region: expected to contain 5x5+2+2, received "5x5+3+2"',
    );
    expect(() => resample(image, { ...part, left: 2 }, placement, out)).toThrow(/75 bytes/);
    expect(() => resample(image, whole(image), placement, out.subarray(1))).toThrow(/48 bytes/);
  });
});

describe("neededRegion", () => {
  test("of an evaluation, the middle and what the filter reaches", () => {
    expect(neededRegion(evaluationPlacement(256, 224)(512, 1024))).toEqual({
      left: 31, // 2 * 16 - 1
      top: 287, // 2 * 144 - 1
      width: 450,
      height: 450,
    });
  });

  test("never more than the box", () => {
    const box = { left: 7, top: 8, width: 9, height: 10 };
    expect(neededRegion(boxPlacement(box, 4))).toEqual(box);
    expect(neededRegion(boxPlacement(box, 400))).toEqual(box);
  });
});
