import { describe, expect, test } from "@jest/globals";

import { below, normal, symmetricBeta, uniform } from "../../../src/data/augment/distributions.js";
import {
  CHI_SQUARE_LIMIT,
  chiSquareScore,
  collect,
  deviation,
  KS_LIMIT,
  ksDistance,
  mean,
  scripted,
  seeded,
} from "./samples.js";

test("uniform covers [low, high)", () => {
  const random = seeded(1);
  const values = collect(5000, () => uniform(random, -2, 3));
  expect(ksDistance(values, (value) => (value + 2) / 5)).toBeLessThan(KS_LIMIT);
  expect(uniform(scripted(0), -2, 3)).toBe(-2);
});

test("below is each whole number equally often", () => {
  const random = seeded(2);
  const counts = new Array<number>(7).fill(0);
  for (let index = 0; index < 7000; index++) counts[below(random, 7)]!++;
  expect(counts.reduce((sum, count) => sum + count)).toBe(7000);
  expect(chiSquareScore(counts)).toBeLessThan(CHI_SQUARE_LIMIT);
});

test("normal has the moments and shares of N(0, 1)", () => {
  const random = seeded(3);
  const values = collect(20000, () => normal(random));
  expect(mean(values)).toBeCloseTo(0, 1.5);
  expect(deviation(values)).toBeCloseTo(1, 1.5);
  expect(mean(values.map((value) => value ** 4))).toBeGreaterThan(2.8);
  expect(mean(values.map((value) => value ** 4))).toBeLessThan(3.2);
  const share = (limit: number) => values.filter((value) => Math.abs(value) < limit).length / 20000;
  expect(Math.abs(share(1) - 0.6827)).toBeLessThan(0.01);
  expect(Math.abs(share(2) - 0.9545)).toBeLessThan(0.006);
  // The smallest and largest uniform numbers give finite ones.
  expect(normal(scripted(0, 0))).toBeCloseTo(0);
  expect(Number.isFinite(normal(scripted(1 - 2 ** -53, 0)))).toBe(true);
});

describe("symmetricBeta", () => {
  const draw = (alpha: number, count = 20000) => {
    const random = seeded(Math.round(100 * alpha));
    return collect(count, () => symmetricBeta(random, alpha));
  };

  test.each([0.1, 0.2, 0.5, 0.8, 1, 2, 5])("has the moments of Beta(%d, same)", (alpha) => {
    const values = draw(alpha);
    // Variance 1 / (4 (2 alpha + 1)), kurtosis 3 - 6 / (2 alpha + 3).
    const variance = 1 / (4 * (2 * alpha + 1));
    const fourth = variance ** 2 * (3 - 6 / (2 * alpha + 3));
    expect(Math.abs(mean(values) - 0.5)).toBeLessThan(4 * Math.sqrt(variance / 20000));
    expect(Math.abs(deviation(values) ** 2 / variance - 1)).toBeLessThan(0.03);
    expect(Math.abs(mean(values.map((value) => (value - 0.5) ** 4)) / fourth - 1)).toBeLessThan(
      0.05,
    );
  });

  test("follows the distributions that have a formula", () => {
    expect(ksDistance(draw(1), (x) => x)).toBeLessThan(KS_LIMIT);
    expect(ksDistance(draw(2), (x) => x * x * (3 - 2 * x))).toBeLessThan(KS_LIMIT);
    const arcsine = (x: number) => (2 / Math.PI) * Math.asin(Math.sqrt(x));
    expect(ksDistance(draw(0.5), arcsine)).toBeLessThan(KS_LIMIT);
  });

  test("stays in [0, 1] for tiny and large alphas", () => {
    const tiny = draw(1e-4, 2000);
    expect(tiny.every((value) => value >= 0 && value <= 1)).toBe(true);
    expect(Math.abs(mean(tiny) - 0.5)).toBeLessThan(0.05);
    expect(draw(1e6, 100).every((value) => Math.abs(value - 0.5) < 0.01)).toBe(true);
  });
});
