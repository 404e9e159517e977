// The drawn data set: what it consists of, that a seed makes it, and that nothing is left half done.

import { chmodSync, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

import { describe, expect, it } from "@jest/globals";

import { openDataset } from "../../src/data/folder/index.js";
import { drawPicture } from "../../src/data/sample/picture.js";
import { sampleClasses, type Shape, SHAPES } from "../../src/data/sample/shapes.js";
import { writeSampleData } from "../../src/data/sample-data.js";
import { sharp } from "../../src/data/sharp.js";
import { randomStream } from "../../src/util/random.js";
import { failureOf } from "../helpers/failures.js";
import { temporaryTrees } from "../helpers/trees.js";

const newTree = temporaryTrees();
const SMALL = { classes: 3, train: 2, val: 1 };

/** All files below a folder, with their bytes. */
function contentOf(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return new Map(files.sort().map((f) => [f.slice(folder.length), readFileSync(f, "base64")]));
}

describe("writeSampleData", () => {
  it("writes a data set of both halves", async () => {
    const dir = newTree().at("new/data");
    const seen: [number, number][] = [];
    const onProgress = (done: number, total: number) => seen.push([done, total]);
    const written = await writeSampleData(dir, { ...SMALL, onProgress });
    expect(written).toMatchObject({ dir, classes: 3, train: 6, val: 3 });
    expect(seen).toEqual(Array.from({ length: 9 }, (_, i) => [i + 1, 9]));
    expect(readdirSync(dir).sort()).toEqual(["train", "val"]);

    const train = await openDataset(dir, "train", { index: false });
    const val = await openDataset(dir, "val", { index: false });
    expect(train.classes).toEqual(["circle", "square", "triangle"]);
    expect(val.classes).toEqual(train.classes);
    expect(Array.from(train.labels)).toEqual([0, 0, 1, 1, 2, 2]);
    expect(train.files.path(1)).toBe("circle/circle_0002.jpg");

    const content = contentOf(dir);
    expect(new Set(content.values()).size).toBe(9);
    let bytes = 0;
    for (const path of content.keys()) {
      const { format, width, height } = await sharp(dir + path).metadata();
      expect(format).toBe("jpeg");
      for (const side of [width, height]) {
        expect(side).toBeGreaterThanOrEqual(80);
        expect(side).toBeLessThanOrEqual(400);
      }
      bytes += statSync(dir + path).size;
    }
    expect(written.bytes).toBe(bytes);
  });

  it("writes the same files for the same seed, and others for another", async () => {
    const tree = newTree();
    await writeSampleData(tree.at("a"), { ...SMALL, seed: 5 });
    await writeSampleData(tree.at("b"), { ...SMALL, seed: 5 });
    await writeSampleData(tree.at("c"), { ...SMALL, seed: 6 });
    expect(contentOf(tree.at("b"))).toEqual(contentOf(tree.at("a")));
    expect(contentOf(tree.at("c"))).not.toEqual(contentOf(tree.at("a")));
    // More images leave the first ones as they are.
    await writeSampleData(tree.at("d"), { classes: 3, train: 3, val: 1, seed: 5 });
    expect(contentOf(tree.at("d"))).toEqual(
      new Map([...contentOf(tree.at("d")), ...contentOf(tree.at("a"))]),
    );
  });

  it("writes into an empty folder, and not into another", async () => {
    const { path, at } = newTree("empty/", "full/file", "file");
    await writeSampleData(at("empty"), SMALL);
    expect(readdirSync(at("empty")).sort()).toEqual(["train", "val"]);
    const refusal = async (dir: string) => failureOf(() => writeSampleData(dir, SMALL));
    expect(await refusal(at("full"))).toMatchObject({
      kind: "file",
      message: `${path}/full: is not empty; name a folder that does not exist yet`,
    });
    expect(readdirSync(at("full"))).toEqual(["file"]);
    for (const dir of ["file", "file/below"]) {
      const { kind, message } = await refusal(at(dir));
      expect(kind).toBe("file");
      expect(message).toMatch(new RegExp(`^${at(dir)}: cannot write: `));
    }
  });

  it.each([
    [{ classes: 0 }, "--classes: expected a whole number from 1 to 100, received 0"],
    [{ classes: 101 }, "--classes: expected a whole number from 1 to 100, received 101"],
    [{ train: 1.5 }, "--train: expected a whole number from 1, received 1.5"],
    [{ val: 0 }, "--val: expected a whole number from 1, received 0"],
  ])("refuses %j", async (options, message) => {
    const dir = newTree().at("data");
    expect(await failureOf(() => writeSampleData(dir, options))).toMatchObject({
      kind: "usage",
      message,
    });
    expect(existsSync(dir)).toBe(false);
  });

  it("leaves nothing behind where it fails in the middle", async () => {
    const { at } = newTree("empty/");
    for (const dir of [at("new"), at("empty")]) {
      const stopping = writeSampleData(dir, {
        ...SMALL,
        onProgress(done) {
          if (done === 4) throw new Error("enough");
        },
      });
      await expect(stopping).rejects.toThrow("enough");
    }
    expect(existsSync(at("new"))).toBe(false);
    expect(readdirSync(at("empty"))).toEqual([]);
  });

  // Root may write everywhere.
  (process.getuid?.() === 0 ? it.skip : it)("says so where it may not write", async () => {
    const { at } = newTree("locked/");
    chmodSync(at("locked"), 0o555);
    const { message } = await failureOf(() => writeSampleData(at("locked"), SMALL));
    expect(message).toBe(`${at("locked")}: cannot write: permission denied`);
  });
});

describe("the classes", () => {
  it("differ by shape, and then by colour too", () => {
    const names = (count: number) => sampleClasses(count).map(({ name }) => name);
    expect(names(10)).toEqual(Object.keys(SHAPES));
    expect(names(10)).toHaveLength(10);
    expect(names(11)).toEqual([...names(10).map((name) => `${name}-red`), "circle-orange"]);
    expect(new Set(names(100)).size).toBe(100);
  });
});

describe("a shape", () => {
  const PIXEL = 1e-3;
  /** Share of foreground in the square of -1.5 to 1.5, times its area. */
  const areaOf = (name: keyof typeof SHAPES, period = 0.5) => {
    const shape: Shape = SHAPES[name];
    const steps = 300;
    let sum = 0;
    for (let i = 0; i < steps; i++) {
      for (let j = 0; j < steps; j++) {
        const at = (k: number) => -1.5 + (3 * (k + 0.5)) / steps;
        sum += shape(at(i), at(j), PIXEL, period);
      }
    }
    return (sum * 9) / steps ** 2;
  };

  it.each([
    ["circle", Math.PI],
    ["square", 1.7 ** 2],
    ["triangle", 3 * Math.sqrt(3) * 0.55 ** 2], // by its inscribed circle
    ["cross", 2 * 2 * 0.6 - 0.6 ** 2],
    ["star", 5 * 0.42 * Math.sin(Math.PI / 5)], // ten triangles of sides 1 and 0.42
    ["stripes", 9 / 2],
    ["checkerboard", 9 / 2],
    ["dots", (9 * Math.PI * 0.15 ** 2) / 0.5 ** 2],
    ["gradient", 9 / 2],
  ] as const)("%s covers an area of %f", (name, area) => {
    expect(areaOf(name)).toBeCloseTo(area, 1);
  });

  it("has smooth edges", () => {
    const inside = SHAPES.circle(0.99, 0, 0.01);
    expect([inside, SHAPES.circle(1, 0, 0.01), SHAPES.circle(1.01, 0, 0.01)]).toEqual([
      ...[1, 0.5, 0],
    ]);
  });
});

describe("pictures of a class", () => {
  it("tell neither by mean colour nor by size what they show", () => {
    // Mean brightness over many pictures is the same for all shapes, within its standard error.
    const [circle, stripes] = ["circle", "stripes"].map((wanted) => {
      const kind = sampleClasses(10).find(({ name }) => name === wanted)!;
      const means = Array.from({ length: 60 }, (_, i) => {
        const { data } = drawPicture(kind, randomStream(i, wanted));
        return data.reduce((sum, value) => sum + value, 0) / data.length / 255;
      });
      const mean = means.reduce((a, b) => a + b, 0) / means.length;
      const spread = Math.sqrt(means.reduce((a, b) => a + (b - mean) ** 2, 0) / means.length);
      return { mean, spread };
    });
    expect(Math.abs(circle!.mean - stripes!.mean)).toBeLessThan(0.1);
    expect(circle!.spread).toBeGreaterThan(0.1);
  });

  it("have the class's hue on the shape where colour counts", () => {
    const kind = sampleClasses(11)[10]!; // circle-orange
    for (let seed = 0; seed < 10; seed++) {
      const { width, height, data } = drawPicture(kind, randomStream(seed, "x"));
      const sums = [0, 0, 0];
      for (let y = -4; y < 4; y++) {
        for (let x = -4; x < 4; x++) {
          const at = 3 * (Math.round(height / 2 + y) * width + Math.round(width / 2 + x));
          for (let c = 0; c < 3; c++) sums[c]! += data[at + c]!;
        }
      }
      const [red, green, blue] = sums as [number, number, number];
      expect(red).toBeGreaterThan(green);
      expect(green).toBeGreaterThan(blue);
    }
  });
});
