// Which images make up which batch.

import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";

import {
  batchAt,
  batchesOf,
  checkBatchSize,
  epochOrder,
  epochOrderInTurns,
  rankShare,
  sortedOrder,
} from "../../src/data/sampler.js";
import { failureOf } from "../helpers/failures.js";

const counts = fc.integer({ min: 0, max: 300 });
const seeds = fc.integer({ min: 0, max: 2 ** 31 });
const epochs = fc.integer({ min: 0, max: 1000 });
const sizes = fc.integer({ min: 1, max: 40 });

const numbers = (values: Uint32Array) => Array.from(values);
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

describe("epochOrder", () => {
  it("holds every image once", () => {
    fc.assert(
      fc.property(counts, seeds, epochs, (count, seed, epoch) => {
        const order = numbers(epochOrder(count, seed, epoch));
        expect(order.sort((a, b) => a - b)).toEqual(upTo(count));
      }),
    );
  });

  it("is the same each time, another for another epoch or seed", () => {
    fc.assert(
      fc.property(seeds, epochs, (seed, epoch) => {
        const order = epochOrder(50, seed, epoch);
        expect(epochOrder(50, seed, epoch)).toEqual(order);
        expect(epochOrder(50, seed, epoch + 1)).not.toEqual(order);
        expect(epochOrder(50, seed + 1, epoch)).not.toEqual(order);
      }),
    );
  });

  it.each([0, 1, 2, 2 ** 17, 2 ** 17 + 1, 300_000])(
    "is the same in turns: %d images",
    async (count) => {
      const order = await epochOrderInTurns(count, 3, 5);
      expect(Buffer.from(order.buffer).equals(Buffer.from(epochOrder(count, 3, 5).buffer))).toBe(
        true,
      );
    },
  );

  it("does not change from one version to the next, or runs could not be resumed", () => {
    expect(numbers(epochOrder(8, 0, 0))).toEqual([5, 0, 2, 3, 1, 4, 7, 6]);
    expect(numbers(epochOrder(8, 7, 3))).toEqual([3, 5, 7, 1, 6, 4, 0, 2]);
  });

  it("makes all orders of four images equally likely", () => {
    const seen = new Map<string, number>();
    const rounds = 24_000;
    for (let epoch = 0; epoch < rounds; epoch++) {
      const key = epochOrder(4, 11, epoch).join();
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    expect(seen.size).toBe(24);
    const expected = rounds / 24;
    const chiSquare = [...seen.values()]
      .map((count) => (count - expected) ** 2 / expected)
      .reduce((sum, term) => sum + term, 0);
    // 23 degrees of freedom: 49.7 is exceeded once in a thousand.
    expect(chiSquare).toBeLessThan(49.7);
  });

  it("puts each image anywhere in a large set", () => {
    const count = 100_000;
    const order = epochOrder(count, 5, 0);
    // The mean of |place - image| of a random order is a third of the count.
    const distance = order.reduce((sum, image, place) => sum + Math.abs(image - place), 0);
    expect(distance / count / count).toBeCloseTo(1 / 3, 2);
  });

  it.each([-1, 1.5, NaN, 2 ** 32 + 1])("refuses a count of %s", async (count) => {
    const { kind, message } = await failureOf(() => epochOrder(count, 0, 0));
    expect(kind).toBe("usage");
    expect(message).toContain("count: expected a whole number of images");
  });
});

describe("sortedOrder", () => {
  it("is 0, 1, 2, ...", () => {
    expect(numbers(sortedOrder(4))).toEqual([0, 1, 2, 3]);
    expect(numbers(sortedOrder(0))).toEqual([]);
  });
});

describe("batches", () => {
  it.each([
    [10, 4, true, 2],
    [10, 4, false, 3],
    [8, 4, true, 2],
    [8, 4, false, 2],
    [3, 4, true, 0],
    [3, 4, false, 1],
    [0, 4, false, 0],
  ])("%s images by %s, dropLast %s: %s", (count, batchSize, dropLast, expected) => {
    expect(batchesOf({ count, batchSize, dropLast })).toBe(expected);
  });

  it("are the order, cut up; dropLast loses less than a batch", () => {
    fc.assert(
      fc.property(counts, sizes, fc.boolean(), (count, batchSize, dropLast) => {
        const order = epochOrder(count, 1, 2);
        const length = batchesOf({ count, batchSize, dropLast });
        const batches = upTo(length).map((index) => numbers(batchAt(order, batchSize, index)));
        const used = dropLast ? count - (count % batchSize) : count;
        expect(batches.flat()).toEqual(numbers(order).slice(0, used));
        expect(batches.slice(0, -1).every((batch) => batch.length === batchSize)).toBe(true);
      }),
    );
  });

  it.each([0, -2, 2.5])("of %s images are refused", async (batchSize) => {
    const failure = await failureOf(() => batchesOf({ count: 8, batchSize, dropLast: true }));
    expect(failure.message).toBe(
      `batchSize: expected a whole number from 1, received ${batchSize}`,
    );
  });
});

describe("rankShare", () => {
  it("shares a batch out whole, in the order of the ranks", () => {
    fc.assert(
      fc.property(counts, fc.integer({ min: 1, max: 17 }), (length, worldSize) => {
        const batch = epochOrder(length, 3, 4);
        const parts = upTo(worldSize).map((rank) => numbers(rankShare(batch, rank, worldSize)));
        expect(parts.flat()).toEqual(numbers(batch));
        const lengths = parts.map((part) => part.length);
        expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1);
        if (length % worldSize === 0) expect(new Set(lengths).size).toBe(1);
        // Rank 0 has something wherever there is anything.
        expect(lengths[0]).toBe(Math.max(...lengths));
      }),
    );
  });

  it("does not copy", () => {
    const order = epochOrder(8, 0, 0);
    expect(rankShare(batchAt(order, 4, 1), 1, 2).buffer).toBe(order.buffer);
  });

  it.each([
    [2, 2, "rank: expected a whole number from 0 to 1, received 2"],
    [-1, 2, "rank: expected a whole number from 0 to 1, received -1"],
    [0, 0, "worldSize: expected a whole number from 1, received 0"],
  ])("refuses rank %s of %s", async (rank, worldSize, message) => {
    expect(await failureOf(() => rankShare(sortedOrder(4), rank, worldSize))).toMatchObject({
      kind: "usage",
      message,
    });
  });
});

describe("checkBatchSize", () => {
  it("takes what divides", () => {
    expect(() => {
      checkBatchSize(256, 8);
      checkBatchSize(7, 1);
    }).not.toThrow();
  });

  it.each([
    [10, 4, "--batch-size: expected a multiple of the 4 processes, received 10; take 8 or 12"],
    [3, 4, "--batch-size: expected a multiple of the 4 processes, received 3; take 4"],
  ])("refuses %s images for %s processes", async (batchSize, worldSize, message) => {
    expect(await failureOf(() => checkBatchSize(batchSize, worldSize))).toMatchObject({
      kind: "usage",
      message,
    });
  });
});
