// `repkit predict`: its table, its document, and images that cannot be used.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { predictCommand, type PredictCommandOptions } from "../../src/cli/commands/predict.js";
import { colourEngine, logitsOf, writeImage } from "../helpers/colour-model.js";
import { writeFilled } from "../helpers/deployed.js";
import { failureOf } from "../helpers/failures.js";
import { captureOutput } from "../helpers/written.js";

const NAMES = ["ant", "bee", "c\u001b[31mat", "dog"];
const folder = mkdtempSync(join(tmpdir(), "repkit-predict-"));
const at = (name: string) => join(folder, name);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

beforeAll(async () => {
  const options = { arch: "MobileNet", block: "base", numClasses: 4, imageSize: 32 };
  writeFilled(at("named.ckpt"), options, { classNames: NAMES });
  writeFilled(at("weights.pth"), options);
  await writeImage(at("photos/b.png"), 1, 2);
  await writeImage(at("photos/a.png"), 3, 6);
  writeFileSync(at("photos/notes.txt"), "not an image by name");
  mkdirSync(at("photos/deeper"));
  writeFileSync(at("bad.png"), "not an image by content");
  mkdirSync(at("empty"));
});

const written = captureOutput();

const standard: PredictCommandOptions = {
  ...{ logLevel: "info", engine: "auto", precision: "fp32", seed: 0, threads: 2, topk: 2 },
};

async function run(
  weights: string,
  images: string[],
  options: Partial<PredictCommandOptions> = {},
  engine = colourEngine(),
) {
  const failure = await predictCommand(
    at(weights),
    images.map(at),
    { ...standard, ...options },
    async () => engine,
  ).then(
    () => undefined,
    (error: Error) => failureOf(() => Promise.reject(error)),
  );
  return { engine, failure };
}

/** Softmax of the colour engine's logits, by its definition. */
function probability(guess: number, sureness: number, index: number): number {
  const powers = Array.from(logitsOf(guess, sureness, 4), (value) => Math.exp(value));
  return powers[index]! / powers.reduce((sum, power) => sum + power, 0);
}

describe("--json", () => {
  test("one entry per image in the order given, the likeliest classes first", async () => {
    const { engine, failure } = await run("named.ckpt", ["photos/b.png", "photos/a.png"], {
      json: true,
    });
    expect(failure).toBeUndefined();
    expect(JSON.parse(written.stdout)).toEqual([
      {
        image: at("photos/b.png"),
        predictions: [
          { class: "bee", index: 1, probability: expect.closeTo(probability(1, 2, 1), 12) },
          { class: NAMES[2], index: 2, probability: expect.closeTo(probability(1, 2, 2), 12) },
        ],
      },
      {
        image: at("photos/a.png"),
        predictions: [
          { class: "dog", index: 3, probability: expect.closeTo(probability(3, 6, 3), 12) },
          { class: "ant", index: 0, probability: expect.closeTo(probability(3, 6, 0), 12) },
        ],
      },
    ]);
    expect(written.stderr).toBe("");
    expect([engine.calls.length, engine.disposed.count]).toEqual([2, 1]);
  });

  test("more classes than there are are all of them, and add up to one", async () => {
    await run("named.ckpt", ["photos/a.png"], { json: true, topk: 1000 });
    const [{ predictions }] = JSON.parse(written.stdout) as [
      { predictions: { probability: number }[] },
    ];
    expect(predictions).toHaveLength(4);
    expect(predictions.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 14);
  });

  test("weights without names: numbers, and a note unless --quiet", async () => {
    await run("weights.pth", ["photos/a.png"], { json: true, topk: 1, imgSize: 32 });
    expect(JSON.parse(written.stdout)).toMatchObject([
      { predictions: [{ class: "class 3", index: 3 }] },
    ]);
    expect(written.stderr).toMatch(/^note: the weights name no classes.*\n$/);
    written.stderr = "";
    await run("weights.pth", ["photos/a.png"], { quiet: true, topk: 1 });
    expect(written.stderr).toBe("");
  });
});

test("for people: a table, without control characters of names", async () => {
  await run("named.ckpt", ["photos/b.png"], { topk: 2 });
  const [title, first, second, ...rest] = written.stdout.split("\n");
  expect(title).toMatch(/^IMAGE +CLASS +PROBABILITY$/);
  const percent = (index: number) => (100 * probability(1, 2, index)).toFixed(2);
  expect(first).toMatch(new RegExp(`^${at("photos/b.png")} +bee +${percent(1)} %$`));
  expect(second).toMatch(new RegExp(`^ +c\\\\u\\{1b\\}\\[31mat +${percent(2)} %$`));
  expect(rest).toEqual([""]);
});

describe("a folder", () => {
  test("stands for the images that lie in it, sorted", async () => {
    await run("named.ckpt", ["photos"], { json: true });
    const document = JSON.parse(written.stdout) as { image: string }[];
    expect(document.map(({ image }) => image)).toEqual([at("photos/a.png"), at("photos/b.png")]);
  });

  test("without an image is refused", async () => {
    const { failure, engine } = await run("named.ckpt", ["empty"]);
    expect(failure).toMatchObject({
      ...{ kind: "file", message: `${at("empty")}: no images lie in this folder` },
    });
    expect(engine.loads).toEqual([]);
  });
});

describe("images that cannot be used", () => {
  test("are named, the others go on, and the command fails in the end", async () => {
    const images = ["bad.png", "photos/b.png", "gone.png"];
    const { failure } = await run("named.ckpt", images, { json: true, topk: 1 });
    expect(JSON.parse(written.stdout)).toEqual([
      { image: at("bad.png"), predictions: [], error: expect.any(String) },
      { image: at("photos/b.png"), predictions: [expect.objectContaining({ class: "bee" })] },
      { image: at("gone.png"), predictions: [], error: "no such file or folder" },
    ]);
    const lines = written.stderr.split("\n");
    expect(lines).toEqual([
      expect.stringContaining(`error: ${at("bad.png")}: `),
      `error: ${at("gone.png")}: no such file or folder`,
      "",
    ]);
    expect(failure).toMatchObject({
      ...{ kind: "file", message: "2 of 3 images could not be used" },
    });
  });

  test("a single one is the failure itself, after the table of the others", async () => {
    const { failure } = await run("named.ckpt", ["gone.png", "photos/b.png"]);
    expect(failure).toMatchObject({
      ...{ kind: "file", message: `${at("gone.png")}: no such file or folder` },
    });
    expect(written.stdout).toContain("bee");
    expect(written.stderr).toBe("");
  });
});

test("outputs that are not finite are the weights' failure", async () => {
  const engine = colourEngine();
  const broken: typeof engine = {
    ...engine,
    async load(...args) {
      const executable = await engine.load(...args);
      const data = Float32Array.of(1, NaN, 2, 3);
      const outputs = new Map([["logits", { shape: [1, 4], data }]]);
      return { ...executable, infer: async () => ({ outputs, values: new Map() }) };
    },
  };
  const { failure } = await run("named.ckpt", ["photos/a.png"], {}, broken);
  expect(failure).toMatchObject({
    kind: "file",
    message: expect.stringContaining("named.ckpt: the outputs for "),
  });
  expect(written.stdout).toBe("");
});
