import { expect, test } from "@jest/globals";

import { lighting } from "../../../src/data/augment/lighting.js";
import { copyOf, forNormal, imageOf, mean, noise, scripted, seeded } from "./samples.js";

const EIGENVALUES = [0.2175, 0.0188, 0.0045];
const EIGENVECTORS = [
  [-0.5675, 0.7192, 0.4009],
  [-0.5808, -0.0045, -0.814],
  [-0.5836, -0.6948, 0.4203],
];

test.each([0, 1, 2])("coefficient %d adds its eigenvector, scaled by its eigenvalue", (which) => {
  const image = imageOf(2, 2, () => 120);
  // 20 for the small eigenvalues, so that a colour of many levels is added.
  const size = which === 0 ? 1 : 20;
  const coefficients = [0, 1, 2].flatMap((j) => forNormal(j === which ? 1 : 0));
  lighting(size)(image, scripted(...coefficients));
  const added = EIGENVECTORS.map((row) => 255 * row[which]! * EIGENVALUES[which]! * size);
  const color = added.map((level) => Math.round(120 + level));
  expect([...image.data]).toEqual([...color, ...color, ...color, ...color]);
});

test("the added colours have the covariance of ImageNet's", () => {
  const random = seeded(4);
  const transform = lighting(0.1);
  const added = Array.from({ length: 1500 }, () => {
    const image = imageOf(1, 1, () => 128);
    transform(image, random);
    return [...image.data].map((byte) => (byte - 128) / 255);
  });
  for (let a = 0; a < 3; a++) {
    expect(Math.abs(mean(added.map((color) => color[a]!)))).toBeLessThan(1e-3);
    for (let b = 0; b < 3; b++) {
      const expected = EIGENVALUES.reduce(
        (sum, value, j) => sum + EIGENVECTORS[a]![j]! * EIGENVECTORS[b]![j]! * (0.1 * value) ** 2,
        0,
      );
      const actual = mean(added.map((color) => color[a]! * color[b]!));
      expect(Math.abs(actual / expected - 1)).toBeLessThan(0.12);
    }
  }
});

test("bytes stop at black and white, and a deviation of 0 changes nothing", () => {
  const image = imageOf(2, 1, (index) => (index < 3 ? 3 : 252));
  const darker = copyOf(image);
  lighting(1)(darker, scripted(...forNormal(1), ...forNormal(0), ...forNormal(0)));
  expect([...darker.data]).toEqual([0, 0, 0, 221, 220, 220]);
  const lighter = copyOf(image);
  // cos(pi) = -1.
  lighting(1)(lighter, scripted(forNormal(1)[0]!, 0.5, ...forNormal(0), ...forNormal(0)));
  expect([...lighter.data]).toEqual([34, 35, 35, 255, 255, 255]);

  const any = noise(4, 4);
  const same = copyOf(any);
  lighting(0)(same, seeded(1));
  expect(same.data).toEqual(any.data);
});

test("a negative deviation is refused", () => {
  expect(() => lighting(-1)).toThrow("lighting: expected a number of at least 0, received -1");
});
