// Scores from logits against their definitions in float64.

import { describe, expect, test } from "@jest/globals";

import { score, softmax } from "../../src/evaluate/score.js";
import { toFloat32 } from "../../src/graph/index.js";
import { crossEntropy, hits } from "../helpers/cross-entropy.js";
import { numbers } from "../helpers/numbers.js";

function tensor(...rows: number[][]) {
  return { shape: [rows.length, rows[0]!.length], data: Float32Array.from(rows.flat()) };
}

describe("score", () => {
  test("is cross-entropy and the hits among one and five", () => {
    const logits = toFloat32(numbers("logits", [40, 12]));
    const labels = Int32Array.from({ length: 40 }, (_, n) => (7 * n) % 12);
    const { loss, top1, top5 } = score(logits, labels);
    expect(loss).toBeCloseTo(crossEntropy(logits, labels), 12);
    expect([top1, top5]).toEqual([hits(logits, labels, 1), hits(logits, labels, 5)]);
    expect([0 < top1, top1 < top5, top5 < 40]).toEqual([true, true, true]);
  });

  test("with up to five classes every image is among the five", () => {
    expect(score(tensor([3, 2, 1], [0, 1, 2]), Int32Array.of(2, 2))).toMatchObject({
      ...{ top1: 1, top5: 2 },
    });
  });

  test("of equal logits the lower class comes first, as engines count", () => {
    const equal = tensor([1, 1, 1, 1, 1, 1]);
    const hitsOf = (label: number) => {
      const { top1, top5 } = score(equal, Int32Array.of(label));
      return [top1, top5];
    };
    expect([0, 1, 4, 5].map(hitsOf)).toEqual([
      [1, 1],
      [0, 1],
      [0, 1],
      [0, 0],
    ]);
  });

  test("NaN is no hit, and no loss either", () => {
    const { loss, top1, top5 } = score(tensor([NaN, NaN]), Int32Array.of(0));
    expect([loss, top1, top5]).toEqual([NaN, 0, 0]);
  });

  test("logits that exp cannot take", () => {
    const { loss } = score(tensor([5000, 4999], [-5000, -5001]), Int32Array.of(1, 0));
    expect(loss).toBeCloseTo((Math.log1p(Math.E) + Math.log1p(1 / Math.E)) / 2, 12);
  });
});

describe("softmax", () => {
  test("sums to one in float64, in the proportions of exp", () => {
    const found = softmax(Float32Array.of(900, 899, -900));
    expect(found[0]! / found[1]!).toBeCloseTo(Math.E, 12);
    expect(found[0]! + found[1]! + found[2]!).toBeCloseTo(1, 15);
    expect(found[2]).toBe(0);
  });
});
