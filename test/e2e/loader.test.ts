// The loader with worker threads, in a process of its own.

import { execFile } from "node:child_process";
import { copyFileSync, linkSync, truncateSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { describe, expect, it } from "@jest/globals";
import sharp from "sharp";

import { PATHS, smallFolder } from "../data/loader-support.js";
import { IMAGES } from "../helpers/images.js";
import { temporaryTrees, type Tree } from "../helpers/trees.js";

const PROGRAM = fileURLToPath(new URL("programs/load-images.js", import.meta.url));
const TIMEOUT = 120_000;
const newTree = temporaryTrees();

/** What the program prints; it must end by itself, and without a word on stderr. */
async function run(what: string, { path }: Tree): Promise<Record<string, unknown>> {
  const { NODE_OPTIONS: _options, ...env } = process.env;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [PROGRAM, what, path], {
    ...{ env, timeout: TIMEOUT - 10_000, maxBuffer: 2 ** 24 },
  });
  expect(stderr).toBe("");
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function smallTree(): Promise<Tree> {
  const tree = newTree();
  await smallFolder(tree);
  return tree;
}

/** 36 pictures of ordinary size. */
function pictures(): Tree {
  const tree = newTree("one/", "two/", "three/");
  const names = ["landscape", "portrait", "wide"];
  for (const folder of ["one", "two", "three"]) {
    for (let copy = 0; copy < 12; copy++) {
      copyFileSync(`${IMAGES}/${names[copy % 3]}.jpg`, tree.at(`${folder}/${copy}.jpg`));
    }
  }
  return tree;
}

/** Four images that take long to decode. */
async function largeImages(): Promise<Tree> {
  const tree = newTree("large/");
  const [width, height, first] = [6000, 6000, tree.at("large/0.jpg")];
  const image = sharp({ create: { width, height, channels: 3, background: "#234567" } });
  await image.jpeg().toFile(first);
  for (const copy of [1, 2, 3]) linkSync(first, tree.at(`large/${copy}.jpg`));
  return tree;
}

interface Batch {
  readonly labels: readonly number[];
  readonly bad: readonly { readonly path: string; readonly kind: string }[];
}

describe("the loader's threads", () => {
  it(
    "make the same batches however many they are, and from the middle of an epoch on",
    async () => {
      const tree = await smallTree();
      copyFileSync(`${IMAGES}/text.jpg`, tree.at(PATHS[2]!));
      truncateSync(tree.at(PATHS[6]!), 100);
      truncateSync(tree.at(PATHS[9]!));
      const results = (await run("same", tree)) as Record<string, readonly Batch[]>;
      const expected = results["0 from 0"]!;
      expect(expected.flatMap(({ labels }) => labels)).toHaveLength(9);
      const bad = expected.flatMap((batch) => batch.bad.map(({ path, kind }) => [path, kind]));
      expect(bad.sort()).toEqual([
        [PATHS[2], "not-an-image"],
        [PATHS[6], "truncated"],
        [PATHS[9], "empty"],
      ]);
      for (const workers of [0, 1, 2, 8]) {
        expect(results[`${workers} from 0`]).toEqual(expected);
        expect(results[`${workers} from 2`]).toEqual(expected.slice(2));
      }
    },
    TIMEOUT,
  );

  it(
    "let go at once when an epoch is ended, and make the next one whole",
    async () => {
      const result = await run("abort", await largeImages());
      expect(result).toMatchObject({ failure: "stopped by hand", next: [0, 1, 2, 3] });
      // Without waiting for an image, which takes a quarter of a second or more.
      expect(result["milliseconds"]).toBeLessThan(100);
    },
    TIMEOUT,
  );

  it(
    "are told of in one line when one of them dies",
    async () => {
      const died = "a thread that prepares images stopped: it exited with code 1";
      const tree = await smallTree();
      expect(await run("dying thread", tree)).toEqual({ threads: 2, failures: [died, died] });
      expect(await run("broken thread", tree)).toEqual({
        failure: "a thread that prepares images stopped: no such library",
      });
    },
    TIMEOUT,
  );

  it(
    "end with the loader, and neither keep nor take the process",
    async () => {
      const tree = await smallTree();
      const closed = "the loader is closed";
      expect(await run("close", tree)).toEqual({ failures: [closed, closed] });
      expect(await run("left open", tree)).toEqual({ images: 4 });
    },
    TIMEOUT,
  );

  it(
    "hold no more memory after many epochs",
    async () => {
      const { bytes } = (await run("memory", pictures())) as { bytes: number[] };
      // The heaps of three threads grow for a dozen epochs, and have found their size then.
      const [early, late] = [Math.max(...bytes.slice(14, 18)), Math.max(...bytes.slice(-3))];
      // 18 epochs: every sixth batch of 2.4 MB, or a fiftieth of the decoded images, would be more.
      expect(late - early).toBeLessThan(16e6);
    },
    TIMEOUT,
  );

  (process.platform === "linux" ? it : it.skip)(
    "leave the event loop free: no turn takes 50 ms",
    async () => {
      expect((await run("loop", pictures()))["longest"]).toBeLessThan(50);
    },
    TIMEOUT,
  );
});
