// Images that cannot be used: named and fatal, or left out, always in the same way.

import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { crc32 } from "node:zlib";

import { beforeEach, describe, expect, test } from "@jest/globals";

import type { ImageFolder } from "../../src/data/folder/index.js";
import { Loader, type LoaderOptions } from "../../src/data/loader.js";
import type { ImageFailureKind } from "../../src/data/types.js";
import { failureOf } from "../helpers/failures.js";
import { IMAGES } from "../helpers/images.js";
import { temporaryTrees, type Tree } from "../helpers/trees.js";
import { batchesOf, evaluation, PATHS, seen, smallFolder, training } from "./loader-support.js";

const newTree = temporaryTrees();
let tree: Tree;
let folder: ImageFolder;
// The folder is scanned first and damaged then.
beforeEach(async () => {
  tree = newTree();
  folder = await smallFolder(tree);
});

const options = (more: Partial<LoaderOptions> = {}): LoaderOptions => ({
  ...{ folder, view: evaluation, batchSize: 12, shuffle: false, workers: 0 },
  ...{ onBadImage: "skip", ...more },
});

/** Says that it has 100 000 x 100 000 pixels. */
function bomb(file: string): void {
  const png = readFileSync(`${IMAGES}/palette.png`);
  png.writeUInt32BE(100_000, 16);
  png.writeUInt32BE(100_000, 20);
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
  writeFileSync(file, png);
}

const DAMAGES: readonly (readonly [string, ImageFailureKind, RegExp, (file: string) => void])[] = [
  ["deleted", "missing", /no such file/i, (file) => rmSync(file)],
  ["emptied", "empty", /the file is empty/, (file) => truncateSync(file)],
  ["cut off", "truncated", /the end of the file is missing/, copyOf("truncated.jpg")],
  ["text", "not-an-image", /not an image of a known format/, copyOf("text.jpg")],
  ["a decompression bomb", "too-large", /pixel/, bomb],
  ["a named pipe", "unreadable", /not a plain file/, pipe],
];

const matching = (pattern: RegExp) => expect.stringMatching(pattern) as unknown as string;

function copyOf(name: string): (file: string) => void {
  return (file) => copyFileSync(`${IMAGES}/${name}`, file);
}

function pipe(file: string): void {
  rmSync(file);
  execFileSync("mkfifo", [file]);
}

describe.each(DAMAGES)("an image that is %s", (_name, kind, reason, damage) => {
  const path = PATHS[4]!;

  test('"fail" names the file', async () => {
    damage(tree.at(path));
    const failure = await failureOf(() => batchesOf(options({ onBadImage: "fail" })));
    expect(failure).toMatchObject({ kind: "file", details: { failure: kind } });
    expect(failure.message.startsWith(`${tree.at(path)}: `)).toBe(true);
    expect(failure.message).toMatch(reason);
    expect(failure.message).not.toContain("\n");
  });

  test('"skip" closes the gap and tells', async () => {
    const [whole] = await batchesOf(options());
    damage(tree.at(path));
    const [batch] = await batchesOf(options());
    const without = <T>(values: readonly T[]) => values.filter((_, i) => i !== 4);
    expect(batch).toEqual({
      ...whole,
      shape: [11, ...whole!.shape.slice(1)],
      indices: without(whole!.indices),
      labels: without(whole!.labels),
      hashes: without(whole!.hashes),
      bad: [{ index: 4, path, kind, reason: matching(reason) }],
    });
  });
});

test("images of a single pixel are good ones", async () => {
  copyFileSync(`${IMAGES}/one_pixel.jpg`, tree.at(PATHS[0]!));
  expect((await batchesOf(options())).flatMap(({ bad }) => bad)).toEqual([]);
});

describe("several bad images", () => {
  const BAD = [0, 3, 4, 7, 11];
  beforeEach(() => {
    BAD.forEach((index, i) => DAMAGES[i]![3](tree.at(PATHS[index]!)));
  });

  test("leave the same batches for any share-out of the work", async () => {
    const augment = { randAugment: "rand-m9-n2-mstd0.5" };
    const view = { ...training, augment } as const;
    for (const mixing of [undefined, { mixup: 0.2, cutmix: 1 }]) {
      const once = { ...options({ view, shuffle: true, batchSize: 6, mixing }) };
      const expected = await batchesOf(once, 1);
      expect(expected.flatMap(({ bad }) => bad.map(({ index }) => index)).sort()).toEqual(
        [...BAD].sort(),
      );
      expect(expected.flatMap(({ indices }) => indices)).toHaveLength(7);
      for (const workers of [1, 2, 8]) {
        expect(await batchesOf({ ...once, workers }, 1)).toEqual(expected);
      }
    }
  });

  test("are named in the batch's order, and counted", async () => {
    const loader = new Loader(options());
    for await (const batch of loader.epoch(0)) {
      expect(batch.bad.map(({ index }) => index)).toEqual(BAD);
      expect(batch.bad.map(({ kind }) => kind)).toEqual(
        DAMAGES.slice(0, 5).map(([, kind]) => kind),
      );
      batch.release();
    }
    expect(loader.statistics).toMatchObject({ batches: 1, images: 7, badImages: 5 });
    await loader.close();
  });

  test('"fail" names the first of the batch', async () => {
    for (const workers of [0, 8]) {
      const failure = await failureOf(() => batchesOf(options({ onBadImage: "fail", workers })));
      expect(failure.message).toContain(tree.at(PATHS[0]!));
    }
  });

  test("other images of the good ones' classes keep their labels", async () => {
    const batches = await batchesOf(options({ batchSize: 5 }));
    expect(batches.map(({ labels }) => labels)).toEqual([[0, 0], [1, 1, 1, 2], [2]]);
    expect(seenOnce(batches.flatMap(({ indices }) => indices))).toEqual([1, 2, 5, 6, 8, 9, 10]);
  });
});

const seenOnce = (indices: readonly number[]) => [...new Set(indices)];

describe("a batch without a single good image", () => {
  const expected = (count: number) => ({
    kind: "file",
    message: matching(new RegExp(`: .*; none of the ${count} images of a batch can be read$`)),
  });

  test("ends the epoch, by the name of its first image", async () => {
    for (const path of PATHS.slice(5, 10)) truncateSync(tree.at(path));
    const loader = new Loader(options({ batchSize: 5 }));
    const batches = loader.epoch(0);
    expect(seen((await batches.next()).value!).indices).toEqual([0, 1, 2, 3, 4]);
    const failure = await failureOf(() => batches.next());
    expect(failure).toEqual({ ...expected(5), details: {} });
    expect(failure.message).toContain(`${tree.at(PATHS[5]!)}: the file is empty; none`);
    // The loader itself goes on.
    const again = loader.epoch(0, { from: 2 });
    expect(seen((await again.next()).value!).indices).toEqual([10, 11]);
    await again.return();
    await loader.close();
  });

  test("may be what is left over at the end", async () => {
    for (const path of PATHS.slice(10)) truncateSync(tree.at(path));
    const batches = await batchesOf(options({ batchSize: 5 }));
    expect(batches.map(({ indices }) => indices.length)).toEqual([5, 5, 0]);
  });

  test("where the whole folder is gone", async () => {
    const loader = new Loader(options({ batchSize: 4, prefetch: 1 }));
    const batches = loader.epoch(0);
    (await batches.next()).value!.release();
    rmSync(tree.path, { recursive: true });
    const rest = async () => {
      for (;;) (await batches.next()).value!.release();
    };
    expect(await failureOf(rest)).toMatchObject(expected(4));
    await loader.close();
  });
});

const isRoot = process.getuid?.() === 0;
(isRoot ? test.skip : test)(
  `an image without permission to read${isRoot ? ", skipped: root may read everything" : ""}`,
  async () => {
    chmodSync(tree.at(PATHS[4]!), 0);
    const [batch] = await batchesOf(options());
    expect(batch?.bad).toMatchObject([{ index: 4, kind: "unreadable", reason: /permission/i }]);
  },
);
