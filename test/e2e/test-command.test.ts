// `repkit test` and `repkit predict` as commands: exit codes, and with the torch engine the same answers
// before and after conversion, and as PyTorch's.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, it, jest, test } from "@jest/globals";

import { openSafetensors, saveCheckpoint } from "../../src/checkpoint/index.js";
import { indexPath } from "../../src/data/folder/index-file.js";
import { Loader, openImageFolder } from "../../src/data/index.js";
import { writeSampleData } from "../../src/data/sample-data.js";
import { initialState, type State } from "../../src/graph/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { repkit } from "../helpers/cli.js";
import { describeTorch } from "../helpers/torch-engine.js";
import { python } from "../helpers/torch.js";

jest.setTimeout(120_000);

const CLASSES = 6;
const PER_CLASS = 4;
const folder = mkdtempSync(join(tmpdir(), "repkit-e2e-test-"));
const at = (name: string) => join(folder, name);
const data = at("data");
const val = join(data, "val");
const model = buildModel({ arch: "MobileNet", block: "DBB", numClasses: CLASSES, imageSize: 64 });

function save(state: State): void {
  const classNames = readdirSync(val).sort();
  saveCheckpoint(at("train.ckpt"), { model, state, metadata: { classNames } });
  saveCheckpoint(at("train.pth"), { model, state });
}

beforeAll(async () => {
  await writeSampleData(data, { classes: CLASSES, train: 1, val: PER_CLASS });
  save(initialState(model.graph, 0));
});
afterAll(() => {
  rmSync(indexPath(realpathSync(val)), { force: true });
  rmSync(folder, { recursive: true, force: true });
});

describe("mistakes", () => {
  it.each([
    [2, ["test"], "missing required argument"],
    [2, ["test", at("train.ckpt")], "test: no folder of images; add --data DATA"],
    [2, ["test", data, "trian", at("train.ckpt")], 'received "trian"; did you mean "train"?'],
    [2, ["test", at("train.ckpt"), "--data", data, "-b", "0"], "a whole number from 1"],
    [3, ["test", at("gone.ckpt"), "--data", data], "gone.ckpt"],
    [3, ["test", data, "deploy", at("train.pth")], "is a training MobileNet x DBB with 6 classes"],
    [3, ["test", at("gone"), "train", at("train.ckpt")], "gone: no such file or folder"],
    [2, ["predict", at("train.ckpt")], "missing required argument"],
    [3, ["predict", at("gone.ckpt"), at("a.jpg")], "gone.ckpt"],
  ])("exit code %d: %j", (code, args, message) => {
    const outcome = repkit(...args);
    expect(outcome).toEqual({ code, stdout: "", stderr: expect.stringContaining(message) });
    expect(outcome.stderr.split("\n")).toHaveLength(2);
  });

  it("exit code 7 without the engine that is asked for", () => {
    const before = { ...process.env };
    Object.assign(process.env, { REPKIT_LIBTORCH: "none", REPKIT_CACHE: at("cache") });
    try {
      const { code, stdout } = repkit(
        "test",
        at("train.ckpt"),
        "--data",
        data,
        "--engine",
        "torch",
      );
      expect([code, stdout]).toEqual([7, ""]);
    } finally {
      for (const name of ["REPKIT_LIBTORCH", "REPKIT_CACHE"]) {
        if (before[name] === undefined) delete process.env[name];
        else process.env[name] = before[name];
      }
    }
  });
});

describeTorch("with the torch engine", (engine) => {
  const IMAGES = CLASSES * PER_CLASS;

  // Logits that are zero in the mean of all images: a network that nobody trained finds all images alike.
  beforeAll(async () => {
    const folder = await openImageFolder(val);
    const view = { kind: "evaluation", resize: 73, crop: 64 } as const;
    const loader = new Loader({ folder, view, batchSize: IMAGES, shuffle: false, workers: 0 });
    const state = initialState(model.graph, 0);
    const executable = await engine.load(model.graph, state);
    for await (const { images } of loader.epoch(0)) {
      const logits = (await executable.infer(images)).outputs.get("logits")!.data as Float32Array;
      const bias = state.get("linear.bias")!.data as Float32Array;
      logits.forEach((value, i) => {
        bias[i % CLASSES] = bias[i % CLASSES]! - value / IMAGES;
      });
    }
    save(state);
    await executable.dispose();
    await loader.close();
  });

  interface Found {
    acc1: number;
    acc5: number;
    loss: number;
    images: number;
    mode: string;
    img_size: number;
  }

  function run(...args: string[]): Found {
    const { code, stdout, stderr } = repkit("test", ...args, "--json", "--quiet");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout) as Found;
  }

  function readLogits(name: string) {
    const file = openSafetensors(at(name));
    const [logits, labels] = [file.get("logits")!, file.get("labels")!];
    file.close();
    const rows = Array.from({ length: IMAGES }, (_, n) =>
      Array.from(logits.data as Float32Array).slice(n * CLASSES, (n + 1) * CLASSES),
    );
    return { rows, labels: Array.from(labels.data, Number) };
  }

  const first = (row: readonly number[]) => row.indexOf(Math.max(...row));

  it("a converted model answers as the trained one did, to the image", () => {
    const train = run(at("train.ckpt"), "--data", data, "--logits", at("train.safetensors"));
    expect(repkit("convert", at("train.ckpt"), at("deploy.pth")).code).toBe(0);
    const arguments_ = [data, "deploy", at("deploy.pth"), "-a", "MobileNet", "-t", "DBB"];
    const deploy = run(...arguments_, "--img-size", "64", "--logits", at("deploy.safetensors"));
    expect([train.mode, deploy.mode]).toEqual(["train", "deploy"]);
    expect([train.images, train.img_size]).toEqual([IMAGES, 64]);
    expect([deploy.acc1, deploy.acc5]).toEqual([train.acc1, train.acc5]);

    const [before, after] = [readLogits("train.safetensors"), readLogits("deploy.safetensors")];
    expect(before.labels).toEqual(
      Array.from({ length: IMAGES }, (_, n) => Math.floor(n / PER_CLASS)),
    );
    expect(after.labels).toEqual(before.labels);
    expect(after.rows.map(first)).toEqual(before.rows.map(first));
    // Not by guessing the same for all.
    expect(new Set(before.rows.map(first)).size).toBeGreaterThan(1);
    const largest = Math.max(...before.rows.flat().map(Math.abs));
    const differences = before.rows.flat().map((x, i) => Math.abs(x - after.rows.flat()[i]!));
    expect(Math.max(...differences) / largest).toBeLessThan(1e-4);
    const hits = before.rows.filter((row, n) => first(row) === before.labels[n]).length;
    expect(train.acc1).toBeCloseTo((100 * hits) / IMAGES, 10);
  });

  it("the engine's own count is that of the logits", () => {
    const flags = ["--data", data, "-b", "7", "-j", "1"];
    const own = run("train", at("train.ckpt"), ...flags);
    const counted = run("train", at("train.ckpt"), ...flags, "--logits", at("l.safetensors"));
    expect([own.acc1, own.acc5]).toEqual([counted.acc1, counted.acc5]);
    expect(own.loss).toBeCloseTo(counted.loss, 5);
  });

  it("for people: the accuracy alone on stdout, notes on stderr", () => {
    const { code, stdout, stderr } = repkit("test", at("train.pth"), "--data", val);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^ \* Acc@1 \d{1,3}\.\d{3} Acc@5 \d{1,3}\.\d{3}\n$/);
  });

  it("predict sees in an image what test sees, and goes on after a bad one", () => {
    run(at("train.ckpt"), "--data", data, "--logits", at("p.safetensors"));
    const { rows } = readLogits("p.safetensors");
    const names = readdirSync(val).sort();
    const images = readdirSync(join(val, names[2]!)).sort();
    const image = join(val, names[2]!, images[1]!);
    writeFileSync(at("bad.jpg"), "no image");

    const { code, stdout, stderr } = repkit(
      "predict",
      at("train.ckpt"),
      at("bad.jpg"),
      image,
      "--json",
    );
    expect(code).toBe(3);
    expect(stderr).toMatch(/^error: .*bad\.jpg: .*\n$/);
    const [bad, good] = JSON.parse(stdout) as {
      image: string;
      predictions: { class: string; index: number; probability: number }[];
    }[];
    expect(bad).toMatchObject({ image: at("bad.jpg"), predictions: [] });
    const row = rows[2 * PER_CLASS + 1]!;
    const powers = row.map((value) => Math.exp(value - Math.max(...row)));
    const sum = powers.reduce((total, power) => total + power, 0);
    const expected = powers
      .map((power, index) => ({ class: names[index]!, index, probability: power / sum }))
      .sort((a, b) => b.probability - a.probability)
      .slice(0, 5);
    expect(good!.predictions.map(({ class: name, index }) => [name, index])).toEqual(
      expected.map(({ class: name, index }) => [name, index]),
    );
    good!.predictions.forEach(({ probability }, place) => {
      expect(probability).toBeCloseTo(expected[place]!.probability, 5);
    });
  });

  const probe = spawnSync(python, ["-c", "import torch, torchvision"]);
  const peer = probe.status === 0 ? test : test.skip;
  peer(`scripts/compare-test-pytorch.js finds no difference (skipped without torchvision)`, () => {
    const script = fileURLToPath(new URL("../../scripts/compare-test-pytorch.js", import.meta.url));
    const { NODE_OPTIONS: _options, ...env } = process.env;
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [
        script,
        at("train.pth"),
        data,
        "-t",
        "DBB",
        "--img-size",
        "64",
        "--python",
        python,
        "--json",
      ],
      { encoding: "utf8", env },
    );
    expect([status, stderr]).toEqual([0, ""]);
    const report = JSON.parse(stdout) as { relative_difference: number };
    expect(report).toMatchObject({ equal: true, images: IMAGES, other_top1: [] });
    expect(report.relative_difference).toBeLessThan(1e-5);
  });
});
