// The loop over batches: means over images, memory given back.

import { describe, expect, test } from "@jest/globals";

import { evaluate, type EvaluationBatch } from "../../src/evaluate/index.js";

const released: number[] = [];

async function* batches(...sizes: number[]): AsyncGenerator<EvaluationBatch> {
  released.length = 0;
  for (const size of sizes) {
    yield {
      images: { shape: [size, 1, 1, 3], data: new Uint8Array(3 * size) },
      labels: new Int32Array(size),
      release: () => released.push(size),
    };
  }
}

describe("evaluate", () => {
  test("every image counts the same, whatever the size of its batch", async () => {
    const results = [
      { loss: 1, top1: 2, top5: 3 },
      { loss: 5, top1: 0, top5: 1 },
    ];
    const seen: number[] = [];
    const found = await evaluate(
      { evaluate: async ({ labels }) => results[labels.length === 3 ? 0 : 1]! },
      batches(3, 1, 0),
      { onProgress: (images) => seen.push(images) },
    );
    expect(found).toEqual({ loss: 2, acc1: 50, acc5: 100, images: 4, seconds: expect.any(Number) });
    expect(seen).toEqual([3, 4]);
    expect(released).toEqual([3, 1, 0]);
  });

  test("a batch is released also where the model fails", async () => {
    const failing = { evaluate: () => Promise.reject(new Error("out of memory")) };
    await expect(evaluate(failing, batches(2, 2))).rejects.toThrow("out of memory");
    expect(released).toEqual([2]);
  });

  test("no image: no mean", async () => {
    const found = await evaluate({ evaluate: () => Promise.reject(new Error()) }, batches());
    expect(found).toMatchObject({ loss: NaN, acc1: NaN, acc5: NaN, images: 0 });
  });
});
