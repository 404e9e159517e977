// The pool without threads, which tests and `--workers 0` use; test/e2e/loader.test.ts has the others.

import { writeFileSync } from "node:fs";

import { beforeAll, describe, expect, test } from "@jest/globals";

import { type ImageFolder, openImageFolder } from "../../src/data/folder/index.js";
import type { FillTask } from "../../src/data/image-tasks.js";
import { startPool, type TaskPool } from "../../src/data/task-pool.js";
import { failureOf } from "../helpers/failures.js";
import { temporaryTrees } from "../helpers/trees.js";
import { evaluation, SIZE, smallFolder } from "./loader-support.js";

const BYTES = SIZE ** 2 * 3;
const newTree = temporaryTrees();
let folder: ImageFolder;
beforeAll(async () => {
  folder = await smallFolder(newTree());
});

const newPool = ({ files } = folder) =>
  startPool({ files: files.share(), view: evaluation, seed: 0, read: {} }, 0);

function fill(pixels: SharedArrayBuffer, place: number, ...indices: number[]): FillTask {
  return { kind: "fill", pixels, epoch: 0, place, indices: Uint32Array.from(indices) };
}

const memory = (images: number) => new SharedArrayBuffer(images * BYTES);

test("images go to their places and nowhere else", async () => {
  const pool = newPool();
  const [all, part] = [memory(4), memory(4)];
  await pool.run(fill(all, 0, 5, 6, 7, 8));
  expect(await pool.run(fill(part, 1, 6, 7))).toEqual([]);
  const [whole, some] = [new Uint8Array(all), new Uint8Array(part)];
  const empty = new Uint8Array(BYTES);
  expect(some.subarray(0, BYTES)).toEqual(empty);
  expect(some.subarray(BYTES, 3 * BYTES)).toEqual(whole.subarray(BYTES, 3 * BYTES));
  expect(some.subarray(3 * BYTES)).toEqual(empty);
  expect(whole.subarray(0, BYTES)).not.toEqual(empty);
  await pool.close();
});

test("mixing takes the pairs that it is told", async () => {
  const pool = newPool();
  const [plain, mixed] = [memory(4), memory(4)];
  for (const pixels of [plain, mixed]) await pool.run(fill(pixels, 0, 5, 6, 7, 8));
  const box = { left: 2, top: 3, width: 4, height: 5 };
  const plan = { kind: "cutmix", share: 0.5, box, size: SIZE } as const;
  await pool.run({ kind: "mix", pixels: mixed, plan, count: 4, from: 1, to: 2 });
  const changed = Array.from({ length: 4 }, (_, i) => {
    const image = (pixels: SharedArrayBuffer) => Buffer.from(pixels, i * BYTES, BYTES);
    return !image(plain).equals(image(mixed));
  });
  expect(changed).toEqual([false, true, true, false]);
  await pool.close();
});

describe("order", () => {
  /** Notes when tasks are done. */
  function noting(pool: TaskPool, image = 3) {
    const done: string[] = [];
    const pixels = memory(1);
    const start = (name: string, first = false) =>
      pool.run(fill(pixels, 0, image), { first }).then(() => done.push(name));
    return { done, start };
  }

  test("tasks are done as they come, those that are to be first before all that wait", async () => {
    const { done, start } = noting(newPool());
    await Promise.all([start("a"), start("b"), start("c"), start("d", true)]);
    expect(done).toEqual(["a", "d", "b", "c"]);
  });

  test("clear forgets what has not begun, and the pool goes on", async () => {
    const pool = newPool();
    const { done, start } = noting(pool);
    const begun = start("begun");
    void start("waiting");
    pool.clear();
    await begun;
    await start("later");
    expect(done).toEqual(["begun", "later"]);
    await pool.close();
  });

  test("timers have their turn between tasks, also where none of them waits for anything", async () => {
    const tree = newTree("a/");
    writeFileSync(tree.at("a/1.ppm"), "P6 1 1 255\nabc");
    const pool = newPool(await openImageFolder(tree.path, { index: false }));
    const { done, start } = noting(pool, 0);
    const tasks = Array.from({ length: 100 }, (_, i) => start(String(i)));
    const timer = new Promise((resolve) => setImmediate(resolve)).then(() => done.push("timer"));
    await Promise.all([...tasks, timer]);
    expect(done.indexOf("timer")).toBeLessThan(10);
  });
});

describe("what goes wrong", () => {
  test("a task that cannot be done is refused, the next is not", async () => {
    const pool = newPool();
    await expect(pool.run(fill(memory(1), 0, 99))).rejects.toThrow("file 99 of 12");
    await expect(pool.run(fill(memory(1), 3, 0))).rejects.toThrow(/array length|offset/);
    expect(await pool.run(fill(memory(1), 0, 0))).toEqual([]);
  });

  test("a pool that is closed takes nothing, and lets go of what waits", async () => {
    const pool = newPool();
    const begun = pool.run(fill(memory(1), 0, 0));
    const waiting = failureOf(() => pool.run(fill(memory(1), 0, 1)));
    await pool.close();
    expect(await begun).toEqual([]);
    expect(await waiting).toMatchObject({ kind: "internal", message: "the loader is closed" });
    await expect(pool.run(fill(memory(1), 0, 0))).rejects.toThrow("the loader is closed");
  });
});
