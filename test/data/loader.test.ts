// The loader in one thread, as the test runner has it; test/e2e/loader.test.ts has the worker threads.

import { beforeAll, describe, expect, test } from "@jest/globals";

import { AUGMENTATIONS, type AugmentOptions } from "../../src/data/augment/index.js";
import type { ImageFolder } from "../../src/data/folder/index.js";
import { Loader, type LoaderOptions } from "../../src/data/loader.js";
import type { ImageBatch } from "../../src/data/types.js";
import type { View } from "../../src/data/view.js";
import { failureOf } from "../helpers/failures.js";
import { temporaryTrees } from "../helpers/trees.js";
import {
  batchesOf,
  evaluation,
  LABELS,
  PATHS,
  SIZE,
  seen,
  smallFolder,
  training,
} from "./loader-support.js";

const newTree = temporaryTrees();
let folder: ImageFolder;
beforeAll(async () => {
  folder = await smallFolder(newTree());
});

const train = (options: Partial<LoaderOptions> = {}): LoaderOptions => ({
  ...{ folder, view: training, batchSize: 4, shuffle: true, workers: 0 },
  ...options,
});
const validate = (options: Partial<LoaderOptions> = {}): LoaderOptions =>
  train({ view: evaluation, shuffle: false, batchSize: 5, ...options });
const augmented = (augment: AugmentOptions): View => ({ ...training, augment });
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

describe("evaluation", () => {
  test("covers every image once, in the folder's order, with a smaller last batch", async () => {
    const batches = await batchesOf(validate());
    expect(batches.map(({ shape }) => shape)).toEqual([5, 5, 2].map((n) => [n, SIZE, SIZE, 3]));
    expect(batches.map(({ position }) => position)).toEqual([1, 2, 3]);
    expect(batches.flatMap(({ indices }) => indices)).toEqual(numbers(12));
    expect(batches.flatMap(({ labels }) => labels)).toEqual(LABELS);
    expect(new Set(batches.flatMap(({ hashes }) => hashes)).size).toBe(12);
    expect(batches.every(({ mixing, bad }) => mixing === undefined && bad.length === 0)).toBe(true);
  });

  test("is the same in every epoch and for every seed", async () => {
    expect(await batchesOf(validate({ seed: 5 }), 3)).toEqual(await batchesOf(validate()));
  });

  test("of more processes than images in the last batch leaves some without", async () => {
    const shares = await Promise.all(
      numbers(3).map((rank) => batchesOf(validate({ rank, worldSize: 3 }))),
    );
    expect(shares.map((batches) => batches.map(({ indices }) => indices.length))).toEqual([
      [2, 2, 1],
      [2, 2, 1],
      [1, 1, 0],
    ]);
    const together = numbers(3).flatMap((b) => shares.flatMap((batches) => batches[b]!.indices));
    expect(together).toEqual(numbers(12));
  });
});

describe("training", () => {
  const views: readonly (readonly [string, View])[] = [
    ["crop and flip", training],
    ["strong augmentation", augmented(AUGMENTATIONS.strong)],
    [
      "RandAugment and erasing",
      augmented({ randAugment: "rand-m9-n2-mstd0.5", randomErasing: { probability: 0.5 } }),
    ],
  ];

  test("whole batches of different images, with their labels", async () => {
    const batches = await batchesOf(train({ batchSize: 5 }));
    const indices = batches.flatMap((batch) => batch.indices);
    expect(batches.map((batch) => batch.indices.length)).toEqual([5, 5]);
    expect(new Set(indices).size).toBe(10);
    expect(indices).not.toEqual([...indices].sort((a, b) => a - b));
    expect(batches.flatMap(({ labels }) => labels)).toEqual(indices.map((i) => LABELS[i]));
  });

  test.each(views)("%s: the same for any share-out of the work", async (_name, view) => {
    const expected = await batchesOf(train({ view, seed: 3 }), 2);
    expect(expected).toHaveLength(3);
    for (const workers of [1, 2, 8]) {
      for (const prefetch of [1, 4]) {
        const batches = await batchesOf(train({ view, seed: 3, workers, prefetch }), 2);
        expect(batches).toEqual(expected);
      }
    }
  });

  test.each(views)("%s: from the middle of an epoch on", async (_name, view) => {
    const whole = await batchesOf(train({ view }), 1);
    for (const from of [1, 2, 3]) {
      expect(await batchesOf(train({ view }), 1, { from })).toEqual(whole.slice(from));
    }
  });

  test.each(views)("%s: processes share each batch out", async (_name, view) => {
    const whole = await batchesOf(train({ view }), 1);
    const shares = await Promise.all(
      [0, 1].map((rank) => batchesOf(train({ view, rank, worldSize: 2 }), 1)),
    );
    whole.forEach((batch, b) => {
      const parts = shares.map((share) => share[b]!);
      expect(parts.map(({ indices }) => indices.length)).toEqual([2, 2]);
      expect(parts.flatMap(({ indices }) => indices)).toEqual(batch.indices);
      expect(parts.flatMap(({ hashes }) => hashes)).toEqual(batch.hashes);
      expect(parts.flatMap(({ labels }) => labels)).toEqual(batch.labels);
    });
  });

  test("another epoch or seed is another order, and other crops of the same images", async () => {
    const byIndex = async (epoch: number, seed: number, view: View = training) => {
      const batches = await batchesOf(train({ seed, view }), epoch);
      const indices = batches.flatMap((batch) => batch.indices);
      const hashes = batches.flatMap((batch) => batch.hashes);
      return { indices, at: new Map(indices.map((index, i) => [index, hashes[i]])) };
    };
    const first = await byIndex(0, 0);
    for (const other of [await byIndex(1, 0), await byIndex(0, 1)]) {
      expect(other.indices).not.toEqual(first.indices);
      const equal = other.indices.filter((index) => first.at.get(index) === other.at.get(index));
      // One is a single pixel: every crop of it is the same.
      expect(equal).toEqual([PATHS.indexOf("ants/one_pixel.png")]);
    }
    // The crop does not depend on what happens to the colours.
    const strong = await byIndex(0, 0, augmented(AUGMENTATIONS.strong));
    expect(strong.indices).toEqual(first.indices);
    expect(strong.at).not.toEqual(first.at);
  });

  test("a batch size that the processes cannot share is refused", async () => {
    const refused = await failureOf(() => new Loader(train({ batchSize: 5, worldSize: 2 })));
    expect(refused.message).toMatch(/^--batch-size: expected a multiple of the 2 processes/);
    expect(await failureOf(() => new Loader(train({ workers: -1 })))).toMatchObject({
      kind: "usage",
      message: "--workers: expected a whole number from 0, received -1",
    });
  });
});

describe("mixing", () => {
  const mixups = { mixup: 1, cutmix: 0 };
  const cuts = { mixup: 0, cutmix: 1 };

  test.each([mixups, cuts])("%j: pairs, labels and shares", async (mixing) => {
    const plain = await batchesOf(train(), 4);
    const mixed = await batchesOf(train({ mixing }), 4);
    mixed.forEach((batch, b) => {
      expect(batch.indices).toEqual(plain[b]!.indices);
      expect(batch.labels).toEqual(plain[b]!.labels);
      expect(batch.mixing?.otherLabels).toEqual([...batch.labels].reverse());
      expect(batch.mixing?.share).toBeGreaterThanOrEqual(0);
      expect(batch.mixing?.share).toBeLessThanOrEqual(1);
    });
    expect(new Set(mixed.map((batch) => batch.mixing?.share)).size).toBe(3);
    expect(mixed.map(({ hashes }) => hashes)).not.toEqual(plain.map(({ hashes }) => hashes));
    for (const workers of [1, 2, 8]) {
      expect(await batchesOf(train({ mixing, workers }), 4)).toEqual(mixed);
    }
    expect(await batchesOf(train({ mixing }), 4, { from: 2 })).toEqual(mixed.slice(2));
  });

  test("mixup is the weighted mean of the two images", async () => {
    const pixelsOf = async (options: LoaderOptions) => {
      const batches = new Loader(options).epoch(0);
      const { value } = await batches.next();
      const { images, mixing } = value as ImageBatch;
      return { data: Uint8Array.from(images.data), share: mixing?.share ?? NaN };
    };
    const { data: plain } = await pixelsOf(train());
    const { data: mixed, share } = await pixelsOf(train({ mixing: mixups }));
    const bytes = SIZE ** 2 * 3;
    let worst = 0;
    mixed.forEach((byte, at) => {
      const partner = 3 - Math.floor(at / bytes);
      const other = plain[partner * bytes + (at % bytes)]!;
      worst = Math.max(worst, Math.abs(byte - (share * plain[at]! + (1 - share) * other)));
    });
    expect(worst).toBeLessThan(0.501);
  });
});

describe("memory", () => {
  /** Different pieces of memory that the batches of two epochs lie in. */
  async function buffersOf(loader: Loader, pause: () => Promise<unknown>) {
    const buffers = new Set<ArrayBufferLike>();
    for (const epoch of [0, 1]) {
      for await (const batch of loader.epoch(epoch)) {
        buffers.add(batch.images.data.buffer);
        await pause();
        batch.release();
      }
    }
    return buffers.size;
  }

  test.each([1, 2, 3])("%d batches ahead take one piece of memory more", async (prefetch) => {
    const loader = new Loader(train({ batchSize: 1, prefetch }));
    const slowly = () => new Promise((resolve) => setTimeout(resolve, 3));
    expect(await buffersOf(loader, slowly)).toBeLessThanOrEqual(prefetch + 1);
    expect(loader.statistics).toMatchObject({ batches: 24, images: 24, badImages: 0 });
    expect(loader.statistics.waitSeconds).toBeGreaterThan(0);
    await loader.close();
  });

  test("a consumer that keeps all batches is told so", async () => {
    const loader = new Loader(train({ batchSize: 1, prefetch: 2 }));
    const kept: ImageBatch[] = [];
    const run = async () => {
      for await (const batch of loader.epoch(0)) kept.push(batch);
    };
    expect(await failureOf(run)).toMatchObject({
      kind: "internal",
      message: "all batches are held; release them before the next",
    });
    expect(kept).toHaveLength(3);
    // What it has is its own until it lets go.
    const before = kept.map(({ images }) => Uint8Array.from(images.data));
    kept[0]!.release();
    for await (const batch of loader.epoch(1)) batch.release();
    expect(kept.slice(1).map(({ images }) => Uint8Array.from(images.data))).toEqual(
      before.slice(1),
    );
    await loader.close();
  });

  test("releasing a batch twice is releasing it once", async () => {
    const loader = new Loader(train({ batchSize: 1, prefetch: 2 }));
    for await (const batch of loader.epoch(0)) {
      batch.release();
      batch.release();
    }
    const held = new Set<ArrayBufferLike>();
    for await (const batch of loader.epoch(1)) {
      held.add(batch.images.data.buffer);
      if (batch.position === 3) break;
    }
    expect(held.size).toBe(3);
    await loader.close();
  });

  test("a batch that is kept while the next is used stays as it is", async () => {
    const loader = new Loader(train({ batchSize: 2, prefetch: 2 }));
    let previous: { batch: ImageBatch; hashes: readonly string[] } | undefined;
    for await (const batch of loader.epoch(0)) {
      const { hashes } = seen({ ...batch, release: () => undefined });
      if (previous !== undefined) expect(seen(previous.batch).hashes).toEqual(previous.hashes);
      previous = { batch, hashes };
    }
    expect(previous).toBeDefined();
    await loader.close();
  });
});

describe("ending early", () => {
  test("a signal ends the epoch while it waits, and the next epoch is whole", async () => {
    const loader = new Loader(train({ batchSize: 2 }));
    const expected = await batchesOf(train({ batchSize: 2 }), 1);
    const controller = new AbortController();
    const batches = loader.epoch(0, { signal: controller.signal });
    const waiting = batches.next();
    controller.abort(new Error("stopped by hand"));
    await expect(waiting).rejects.toThrow("stopped by hand");
    expect((await batches.next()).done).toBe(true);
    const result = [];
    for await (const batch of loader.epoch(1)) result.push(seen(batch));
    expect(result).toEqual(expected);
    await loader.close();
  });

  test("a signal counts also where the next batch is there already", async () => {
    const loader = new Loader(train({ batchSize: 1, prefetch: 3 }));
    const controller = new AbortController();
    const batches = loader.epoch(0, { signal: controller.signal });
    ((await batches.next()).value as ImageBatch).release();
    await new Promise((resolve) => setTimeout(resolve, 200));
    controller.abort(new Error("stopped by hand"));
    await expect(batches.next()).rejects.toThrow("stopped by hand");
    await expect(loader.epoch(0, { signal: controller.signal }).next()).rejects.toThrow("stopped");
    await loader.close();
  });

  test("breaking off, ten times, costs no memory", async () => {
    const loader = new Loader(train({ batchSize: 1, prefetch: 2 }));
    for (let round = 0; round < 10; round++) {
      for await (const batch of loader.epoch(round)) {
        batch.release();
        break;
      }
    }
    const whole = [];
    for await (const batch of loader.epoch(2)) whole.push(seen(batch));
    expect(whole).toEqual(await batchesOf(train({ batchSize: 1 }), 2));
    await loader.close();
  });

  test("close refuses the epoch that goes on, and those to come", async () => {
    const loader = new Loader(train({ batchSize: 4, prefetch: 2 }));
    const batches = loader.epoch(0);
    const waiting = batches.next();
    await loader.close();
    const refused = { kind: "internal", message: "the loader is closed" };
    expect(await failureOf(() => waiting)).toMatchObject(refused);
    expect(await failureOf(() => loader.epoch(1).next())).toMatchObject(refused);
    await loader.close();
  });
});
