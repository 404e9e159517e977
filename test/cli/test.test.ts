// `repkit test`: its arguments, what it prints where, and what it refuses.

import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { openSafetensors } from "../../src/checkpoint/index.js";
import { testCommand, type TestCommandOptions, testRequest } from "../../src/cli/commands/test.js";
import { colourEngine, logitsOf, writeImage } from "../helpers/colour-model.js";
import { writeFilled } from "../helpers/deployed.js";
import { failureOf } from "../helpers/failures.js";
import { captureOutput } from "../helpers/written.js";

const CLASSES = 7;
const NAMES = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu"];
const folder = mkdtempSync(join(tmpdir(), "repkit-test-"));
const at = (name: string) => join(folder, name);
const cache = process.env["REPKIT_CACHE"];
afterAll(() => {
  if (cache === undefined) delete process.env["REPKIT_CACHE"];
  else process.env["REPKIT_CACHE"] = cache;
  rmSync(folder, { recursive: true });
});

/** Guesses by folder: the colour engine ranks the guess first, then the classes above it, around. */
const GUESSES = {
  ant: [0, 6, 3], // first; second; fifth place
  bee: [2], // seventh: the last
  fox: [5],
};

beforeAll(async () => {
  process.env["REPKIT_CACHE"] = at("cache");
  const options = { arch: "MobileNet", block: "base", numClasses: CLASSES, imageSize: 32 };
  writeFilled(at("named.ckpt"), options, { classNames: NAMES });
  writeFilled(at("weights.pth"), options);
  for (const [name, guesses] of Object.entries(GUESSES)) {
    for (const [i, guess] of guesses.entries()) {
      await writeImage(at(`data/val/${name}/${i}.png`), guess, 10 + i);
    }
  }
  for (const i of [0, 1, 2]) await writeImage(at(`broken/ant/${i}.png`), 0);
  writeFileSync(at("broken/ant/1.png"), "no image");
});

const written = captureOutput();

const standard: TestCommandOptions = {
  ...{ logLevel: "info", engine: "auto", precision: "fp32", seed: 0, threads: 2 },
  ...{ batchSize: 2, workers: 0, onBadImage: "fail" },
};

async function run(args: string[], options: Partial<TestCommandOptions> = {}) {
  const engine = colourEngine();
  const asked: string[] = [];
  const failure = await testCommand(args, { ...standard, ...options }, async (name) => {
    asked.push(name);
    return engine;
  }).then(
    () => undefined,
    (error: Error) => failureOf(() => Promise.reject(error)),
  );
  return { engine, asked, failure };
}

describe("arguments", () => {
  test.each([
    [["D", "train", "W"], undefined, { data: "D", structure: "train", weights: "W" }],
    [["D", "deploy", "W"], undefined, { data: "D", structure: "deploy", weights: "W" }],
    [["D", "train", "W"], "D", { data: "D", structure: "train", weights: "W" }],
    [["deploy", "W"], "D", { data: "D", structure: "deploy", weights: "W" }],
    [["D", "W"], undefined, { data: "D", structure: undefined, weights: "W" }],
    [[".", "W"], undefined, { data: ".", structure: undefined, weights: "W" }],
    [["W"], "D", { data: "D", structure: undefined, weights: "W" }],
    [["train"], "D", { data: "D", structure: undefined, weights: "train" }],
  ])("%j with --data %s", (args, data, expected) => {
    expect(testRequest(args, data)).toEqual(expected);
  });

  test("REPKIT_DATA is the folder that nobody named", () => {
    process.env["REPKIT_DATA"] = "E";
    try {
      expect(testRequest(["W"], undefined).data).toBe("E");
      expect(testRequest(["W"], "D").data).toBe("D");
      expect(testRequest(["train", "W"], undefined).data).toBe("E");
      expect(testRequest(["D", "W"], undefined).data).toBe("D");
      expect(testRequest(["D", "train", "W"], undefined).data).toBe("D");
    } finally {
      delete process.env["REPKIT_DATA"];
    }
  });

  test.each([
    [[], "D", "test: expected [DATA] [MODE] WEIGHTS, received nothing"],
    [["D", "train", "W", "X"], undefined, "expected [DATA] [MODE] WEIGHTS, received 4 arguments"],
    [["D", "trian", "W"], undefined, 'received "trian"; did you mean "train"?'],
    [["trian", "W"], undefined, 'received "trian"; did you mean "train"?'],
    [["E", "W"], "D", 'MODE to be train or deploy, received "E"; choose from train, deploy'],
    [["train", "W"], undefined, "no folder of images; add --data DATA, or set REPKIT_DATA"],
    [["W"], undefined, "no folder of images"],
    [["D", "train", "W"], "E", 'DATA is "D" and --data "E"; leave out one'],
  ])("%j with --data %s is refused", async (args, data, message) => {
    const failure = await failureOf(() => testRequest(args, data));
    expect(failure).toMatchObject({ kind: "usage", message: expect.stringContaining(message) });
  });
});

describe("accuracy", () => {
  test("for people: one line", async () => {
    const { engine, failure } = await run(["train", at("named.ckpt")], { data: at("data") });
    expect(failure).toBeUndefined();
    expect(written.stdout).toBe(" * Acc@1 40.000 Acc@5 80.000\n");
    expect(written.stderr).toBe("note: the model has 7 classes, 3 of them are in the folder\n");
    expect(engine.calls).toEqual([
      ["evaluate", 2],
      ["evaluate", 2],
      ["evaluate", 1],
    ]);
    expect(engine.loads).toEqual([{ precision: "fp32", threads: 2 }]);
    expect(engine.disposed.count).toBe(1);
  });

  test("--json: one document; flags reach the engine", async () => {
    const options = { json: true, quiet: true, device: "cuda:1", precision: "bf16" } as const;
    const more = { engine: "torch", imgSize: 48, valResize: 50, batchSize: 8 };
    const { engine, asked } = await run([at("data"), "train", at("named.ckpt")], {
      ...{ ...options, ...more },
    });
    const document = JSON.parse(written.stdout) as Record<string, number>;
    expect(document).toEqual({
      ...{ acc1: 40, acc5: 80, loss: expect.any(Number), images: 5 },
      ...{ seconds: expect.any(Number), images_per_second: expect.any(Number), bad_images: [] },
      ...{ weights: at("named.ckpt"), data: at("data/val"), logits: null },
      ...{ arch: "MobileNet", block: "base", mode: "train", classes: 7 },
      ...{ img_size: 48, val_resize: 50, batch_size: 8 },
      ...{ engine: "colours", device: "cuda:1", precision: "bf16" },
    });
    expect(document["images_per_second"]! * document["seconds"]!).toBeCloseTo(5, 9);
    expect(written.stderr).toBe("");
    expect(asked).toEqual(["torch"]);
    expect(engine.loads).toEqual([{ device: "cuda:1", precision: "bf16", threads: 2 }]);
  });

  test("--logits: the file's rows are the folder's images, labels the model's; same scores", async () => {
    const file = at("logits.safetensors");
    const { engine } = await run([at("named.ckpt")], { data: at("data"), json: true });
    const plain = JSON.parse(written.stdout) as { loss: number };
    written.stdout = "";
    const second = await run([at("named.ckpt")], { data: at("data"), json: true, logits: file });
    expect([engine.calls[0]![0], second.engine.calls[0]![0]]).toEqual(["evaluate", "infer"]);
    const document = JSON.parse(written.stdout) as { loss: number };
    expect(document).toMatchObject({ acc1: 40, acc5: 80, images: 5, logits: file });
    expect(document.loss).toBeCloseTo(plain.loss, 12);

    const found = openSafetensors(file);
    expect([...found.tensors.keys()]).toEqual(["logits", "labels"]);
    expect(found.get("labels")!.data).toEqual(BigInt64Array.of(0n, 0n, 0n, 1n, 5n));
    const guesses = Object.values(GUESSES).flatMap((all) => [...all.entries()]);
    expect(found.get("logits")).toEqual({
      shape: [5, CLASSES],
      data: Float32Array.from(
        guesses.flatMap(([i, guess]) => [...logitsOf(guess, 10 + i, CLASSES)]),
      ),
    });
    found.close();
  });

  test("weights without names: the folders count in sorted order", async () => {
    await run([at("weights.pth")], { data: at("data"), imgSize: 32, json: true });
    // ant, bee, fox are 0, 1, 2: fox's guess of 5 is now three classes off.
    expect(JSON.parse(written.stdout)).toMatchObject({ acc1: 20, img_size: 32, val_resize: 37 });
    expect(written.stderr).toContain("the weights name no classes");
  });
});

describe("images that cannot be read", () => {
  test("end the test by name, and nothing is written", async () => {
    const logits = at("never.safetensors");
    const { failure, engine } = await run([at("named.ckpt")], { data: at("broken"), logits });
    expect(failure).toMatchObject({
      kind: "file",
      message: expect.stringContaining(`${at("broken/ant/1.png")}: `),
    });
    expect(written.stdout).toBe("");
    expect(existsSync(logits)).toBe(false);
    expect(engine.disposed.count).toBe(1);
  });

  test("--on-bad-image skip: named, counted, left out", async () => {
    const options = { data: at("broken"), onBadImage: "skip", json: true } as const;
    const logits = at("skipped.safetensors");
    await run([at("named.ckpt")], { ...options, logits });
    expect(JSON.parse(written.stdout)).toMatchObject({
      ...{ acc1: 100, images: 2 },
      bad_images: [{ image: "ant/1.png", kind: "not-an-image", reason: expect.any(String) }],
    });
    expect(written.stderr).toMatch(/^skipped: ant\/1\.png: .+$/m);
    const file = openSafetensors(logits);
    expect(file.get("labels")!.shape).toEqual([2]);
    file.close();
  });

  test("--quiet says nothing of them", async () => {
    await run([at("named.ckpt")], { data: at("broken"), onBadImage: "skip", quiet: true });
    expect([written.stdout, written.stderr]).toEqual([" * Acc@1 100.000 Acc@5 100.000\n", ""]);
  });
});

describe("refused before an engine is asked for", () => {
  test.each([
    [
      "usage",
      { logits: "out.txt" },
      "--logits: expected the name of a .safetensors file, received",
    ],
    ["usage", { batchSize: 1e9 }, "--batch-size: expected images of no more than 2147483648 bytes"],
    ["usage", { valResize: 16 }, "--val-resize: expected pixels from 32 (--img-size)"],
    ["usage", { arch: "MobileNat" }, 'unknown architecture "MobileNat"'],
    ["file", { numClasses: 8 }, "you asked for 8 classes"],
    ["file", { data: join(folder, "nowhere") }, "nowhere: no such file or folder"],
    ["file", { logits: join(folder, "no/l.safetensors") }, "the folder"],
  ] as const)("%s: %j", async (kind, options, message) => {
    const args = [at("named.ckpt")];
    const { failure, asked } = await run(args, { data: at("data"), ...options });
    expect(failure).toMatchObject({ kind, message: expect.stringContaining(message) });
    expect([asked, written.stdout]).toEqual([[], ""]);
  });

  test("file: a MODE that the weights are not", async () => {
    const { failure, asked } = await run(["deploy", at("named.ckpt")], { data: at("data") });
    expect(failure).toMatchObject({
      kind: "file",
      message: expect.stringContaining("is a training MobileNet x base with 7 classes"),
    });
    expect(asked).toEqual([]);
  });

  test("logits in the place of the weights", async () => {
    writeFilled(at("weights.safetensors"), { arch: "MobileNet", block: "base", numClasses: 7 });
    const file = at("weights.safetensors");
    const { failure } = await run([file], {
      data: at("data"),
      logits: `${folder}/./weights.safetensors`,
    });
    expect(failure).toMatchObject({
      kind: "usage",
      message: expect.stringContaining("holds the weights"),
    });
  });
});

test("nothing temporary is left behind", () => {
  expect(readdirSync(folder).filter((name) => name.includes("tmp"))).toEqual([]);
});
