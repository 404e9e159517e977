// `repkit bench data`: its document, its text, and what it refuses.

import { copyFileSync, truncateSync } from "node:fs";

import { describe, expect, it } from "@jest/globals";

import { benchDataCommand, type BenchDataOptions } from "../../src/cli/commands/bench-data.js";
import { program } from "../../src/cli/program.js";
import { jpegAddon } from "../../src/data/jpeg/addon.js";
import { IMAGES } from "../helpers/images.js";
import { temporaryTrees, type Tree } from "../helpers/trees.js";
import { captureOutput } from "../helpers/written.js";

const newTree = temporaryTrees();
const written = captureOutput();

/** Six small images of two classes below `prefix`. */
function imageTree(prefix = ""): Tree {
  const tree = newTree(`${prefix}ants/`, `${prefix}bees/`);
  for (const name of ["ants/1.jpg", "ants/2.jpg", "ants/3.jpg", "bees/1.jpg", "bees/2.jpg"]) {
    copyFileSync(`${IMAGES}/gray.jpg`, tree.at(prefix + name));
  }
  copyFileSync(`${IMAGES}/picture.webp`, tree.at(`${prefix}bees/3.webp`));
  return tree;
}

const standard: BenchDataOptions = {
  ...{ workers: 0, mode: "train", batchSize: 4, imgSize: 32, steps: 3, warmup: 1 },
  ...{ logLevel: "info", engine: "auto", precision: "fp32", seed: 0 },
};

const bench = (folder: string, options: Partial<BenchDataOptions> = {}) =>
  benchDataCommand(folder, { ...standard, ...options });

describe("--json", () => {
  it("is one document with the numbers and their circumstances", async () => {
    const { path } = imageTree();
    await bench(path, { json: true });
    const document = JSON.parse(written.stdout) as Record<string, number>;
    expect(document).toMatchObject({
      ...{ work: "data", folder: path, mode: "train", batch_size: 4, img_size: 32 },
      ...{ steps: 3, warmup: 1, images: 12, bad_images: 0, threads: 0, precision: "uint8" },
      ...{ engine: jpegAddon() === undefined ? "sharp" : "jpeg", node: process.version },
    });
    const seconds = document["seconds"] as unknown as number[];
    expect(seconds).toHaveLength(3);
    expect(document["median_seconds"]).toBe([...seconds].sort((a, b) => a - b)[1]);
    const total = seconds.reduce((sum, value) => sum + value);
    expect(document["images_per_second"]).toBeCloseTo(12 / total, 6);
    expect(document["cpu_milliseconds_per_image"]).toBeGreaterThan(0);
    expect(document["event_loop_milliseconds"]).toBeGreaterThanOrEqual(0);
    expect(document["peak_memory_bytes"]).toBeGreaterThan(1e6);
    expect(written.stderr).toBe("");
  });

  it("of validation takes val/ of a data set, the smaller last batch included", async () => {
    const tree = imageTree("val/");
    await bench(tree.path, { json: true, mode: "val", steps: 2, warmup: 0 });
    expect(JSON.parse(written.stdout)).toMatchObject({
      ...{ folder: tree.at("val"), mode: "val", images: 6 },
    });
  });

  it("counts images that cannot be read", async () => {
    const tree = imageTree();
    truncateSync(tree.at("bees/1.jpg"));
    await bench(tree.path, { json: true, mode: "val", steps: 2, warmup: 0 });
    expect(JSON.parse(written.stdout)).toMatchObject({ images: 5, bad_images: 1 });
  });
});

describe("for people", () => {
  it("names the folder, the transforms and the figures", async () => {
    const tree = imageTree();
    await bench(tree.path);
    const [title, , ...figures] = written.stdout.split("\n");
    const path = jpegAddon() === undefined ? "sharp" : "native for JPEG files";
    expect(title).toBe(`${tree.path}, train transforms, batch 4, 0 workers, ${path}`);
    expect(figures.join("\n")).toMatch(
      /^ {2}batch +\d+\.\d{4} s \(median\)\n {2}images +\d+\.\d per second\n {2}CPU +\d+\.\d\d ms per image, all threads\n {2}event loop {2}held for at most \d+\.\d ms\n$/,
    );
    truncateSync(tree.at("bees/1.jpg"));
    written.stdout = "";
    await bench(tree.path, { mode: "val", steps: 2, warmup: 0 });
    expect(written.stdout).toContain("\n  skipped     1 images\n");
  });
});

it("a folder without classes is refused", async () => {
  await expect(bench(newTree().path)).rejects.toMatchObject({ kind: "file" });
});

it("a batch larger than the folder is cut to it", async () => {
  await bench(imageTree().path, { json: true, batchSize: 64, steps: 2 });
  expect(JSON.parse(written.stdout)).toMatchObject({ images: 12 });
});

it.each([
  [["data"], "bench data: expected the folder of the images, received none"],
  [["data", "d", "-a", "ResNet-18"], "bench data: --arch does not go with it"],
  [["data", "d", "--profile"], "bench data: --profile does not go with it"],
  [["data", "d", "--mode", "test"], "--mode"],
  [["data", "d", "-j", "-1"], "expected a whole number from 0"],
  [["step", "d", "-a", "X"], 'bench step: takes no folder, received "d"'],
  [["step"], "bench step: expected an architecture (-a), received none"],
  [["step", "-a", "X", "-j", "2"], "bench step: --workers does not go with it"],
  [["forward", "-a", "X", "--mode", "val"], "bench forward: --mode does not go with it"],
])("bench %j is refused", async (line, message) => {
  const run = program().parseAsync(["bench", ...line], { from: "user" });
  await expect(run).rejects.toThrow(message);
});
