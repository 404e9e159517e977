// Going on with a run: bit for bit on CPUs, with a word about what has changed, and never with what does not fit.

import { existsSync, linkSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import { loadCheckpoint, saveCheckpoint } from "../../src/checkpoint/index.js";
import { writeSampleData } from "../../src/data/sample-data.js";
import type { Engine } from "../../src/engine/types.js";
import { Closing } from "../../src/train/closing.js";
import { resolveConfig, train } from "../../src/train/index.js";
import { beginning, NO_SUMS, type Progress } from "../../src/train/progress.js";
import type { Recipe } from "../../src/train/recipe-schema.js";
import { checkSameModel, previousRun, startOf } from "../../src/train/resume.js";
import { openRunDirectory, SILENT_OBSERVER } from "../../src/train/run/index.js";
import { saveTraining } from "../../src/train/training-checkpoint.js";
import { buildModel } from "../../src/zoo/index.js";
import { failureOf } from "../helpers/failures.js";
import { filledState } from "../helpers/fill.js";
import { checkpointsIn, runIn, savedRun } from "../helpers/runs.js";
import { describeTorch } from "../helpers/torch-engine.js";

const TIMEOUT = 120_000; // ms

const folder = mkdtempSync(join(tmpdir(), "repkit-resume-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** 4 classes; 16 images make 4 steps of 4. */
beforeAll(async () => {
  await writeSampleData(at("data"), { classes: 4, train: 4, val: 2 });
});

const SMALL: Recipe = {
  ...{ arch: "MobileNet", blocktype: "base", "img-size": 32, "batch-size": 4, epochs: 2 },
  ...{ lr: 0.02, threads: 1, workers: 0, "print-freq": 1 },
};

function configOf(out: string, flags: Recipe = {}) {
  return resolveConfig({ flags: { ...SMALL, data: at("data"), out: at(out), ...flags } });
}

interface Part {
  readonly flags?: Recipe;
  readonly resume?: string;
  /** Stop after so many steps of this part. */
  readonly steps?: number;
  /** Stop in the validation of this part's epoch. */
  readonly epoch?: number;
}

/** One process's part of a run; returns what was said. */
async function part(engine: Engine, out: string, { flags, resume, steps, epoch }: Part = {}) {
  const messages: string[] = [];
  const stop = new AbortController();
  let [stepsDone, epochsDone] = [0, 0];
  const summary = await train({
    ...{ config: configOf(out, flags), resume, engine, logLevel: "silent", stop: stop.signal },
    observer: {
      ...SILENT_OBSERVER,
      step: () => {
        if (++stepsDone === steps) stop.abort();
      },
      validation: () => {
        if (epochsDone + 1 === epoch) stop.abort();
      },
      epochDone: () => epochsDone++,
      message: (text) => messages.push(text),
    },
  });
  return { summary, messages };
}

describeTorch("a resumed run ends as one that was not stopped", (engine) => {
  // Of everything that has a state or random numbers of its own.
  const everything: Recipe = {
    ...{ mixup: 0.4, cutmix: 1, erasing: 0.5, aug: "strong", "ema-decay": 0.9, nesterov: true },
    ...{ "label-smoothing": 0.1, "clip-norm": 1, "warmup-epochs": 1 },
  };
  it.each<[what: string, flags: Recipe, parts: Part[]]>([
    [
      "plain blocks: inside an epoch, before its validation, in the last epoch",
      {},
      [{ steps: 2 }, { steps: 2 }, { steps: 3 }, {}],
    ],
    [
      "mixing, averaged weights, clipping: inside an epoch, in the validation",
      everything,
      [{ steps: 1 }, { epoch: 1 }, { steps: 2 }, {}],
    ],
    [
      "DBB: in the last validation",
      { blocktype: "DBB", epochs: 1, custwd: false },
      [{ steps: 3 }, { epoch: 1 }, {}],
    ],
  ])(
    "%s",
    async (_what, flags, parts) => {
      await part(engine, "whole", { flags });
      const stopped: boolean[] = [];
      for (const each of parts) {
        const { summary } = await part(engine, "parts", { flags, resume: "auto", ...each });
        stopped.push(summary.stopped);
      }
      expect(stopped).toEqual(parts.map((_, i) => i < parts.length - 1));
      const whole = runIn(at("whole"));
      expect(runIn(at("parts"))).toEqual(whole);
      expect(whole.last.tensors.some(([name]) => name.startsWith("@momentum/"))).toBe(true);
      expect(whole.best).toBeDefined();
      for (const name of ["whole", "parts"]) rmSync(at(name), { recursive: true });
    },
    TIMEOUT,
  );

  it(
    "from a checkpoint that --keep has kept, in a directory of its own",
    async () => {
      const flags: Recipe = { "save-every-steps": 3, keep: 2 };
      await part(engine, "kept", { flags });
      expect(checkpointsIn(at("kept"))).toEqual([
        ...["best.ckpt", "epoch-002.ckpt", "last.ckpt", "step-000006.ckpt"],
      ]);
      await part(engine, "other", { flags, resume: at("kept/step-000006.ckpt") });
      expect(savedRun(at("other/last.ckpt"))).toEqual(savedRun(at("kept/last.ckpt")));
      // Only what this directory's run has done is in its metrics.
      const { metrics } = runIn(at("kept"));
      expect(runIn(at("other")).metrics).toEqual(metrics.slice(-3));
    },
    TIMEOUT,
  );

  it(
    "marks the best epoch where the process was killed before it could",
    async () => {
      await part(engine, "unmarked", { flags: { "max-steps": 4 } });
      rmSync(at("unmarked/best.ckpt"));
      await part(engine, "unmarked", { flags: { "max-steps": 4 }, resume: "auto" });
      expect(savedRun(at("unmarked/best.ckpt"))).toEqual(savedRun(at("unmarked/last.ckpt")));
    },
    TIMEOUT,
  );

  it(
    "says which settings have changed, and trains with the new ones",
    async () => {
      await part(engine, "changed", { flags: { "max-steps": 4 } });
      const flags: Recipe = { lr: 0.5, "max-steps": 5, workers: 1, "batch-size": 8 };
      const { messages, summary } = await part(engine, "changed", { flags, resume: "auto" });
      expect(messages).toEqual([
        `batchSize was 4 in ${at("changed/last.ckpt")}, and is 8 from here on`,
        `lr was 0.02 in ${at("changed/last.ckpt")}, and is 0.5 from here on`,
      ]);
      // Steps count anew: an epoch is two of them now.
      expect(summary).toMatchObject({ epochs: 2, steps: 4 });
    },
    TIMEOUT,
  );
});

/** A checkpoint of a run of `model` that has come so far. */
function stopped(path: string, progress: Partial<Progress>, stepsPerEpoch = 4) {
  const config = configOf("x");
  const model = buildModel({ arch: "MobileNet", block: "base", numClasses: 4, imageSize: 32 });
  saveTraining(
    path,
    { model, classNames: undefined, config: { ...config } as never, stepsPerEpoch },
    { state: filledState(model.graph), momentum: new Map(), ema: undefined },
    { ...beginning(stepsPerEpoch, 0), ...progress },
  );
  return { model, config };
}

async function previous(resume: string, out = "none", messages: string[] = []) {
  const closing = new Closing();
  const directory = await openRunDirectory(at(out), { resume: true });
  closing.add(directory, ({ close }) => close());
  try {
    const observer = { ...SILENT_OBSERVER, message: (text: string) => messages.push(text) };
    return previousRun(resume, directory, closing, observer);
  } finally {
    await closing.close();
  }
}

describe("previousRun", () => {
  it("reads where the run stands", async () => {
    const sums = { images: 8, loss: 1 / 3, top1: 3, top5: 8, bad: 1 };
    const best = { acc1: 37.5, epoch: 1 };
    const progress = { epoch: 1, step: 6, sums, seconds: 1.5, best };
    stopped(at("run.ckpt"), progress);
    const found = await previous(at("run.ckpt"));
    expect(found).toMatchObject({ progress, stepsPerEpoch: 4, momentum: undefined });
    expect(found!.config).toEqual(JSON.parse(JSON.stringify(configOf("x"))));
  });

  it("auto begins at the beginning where there is nothing, and says so", async () => {
    const messages: string[] = [];
    expect(await previous("auto", "empty", messages)).toBeUndefined();
    expect(messages).toEqual([
      `${at("empty")} has no last.ckpt yet: training starts at the beginning`,
    ]);
  });

  it("auto takes the directory's last.ckpt", async () => {
    stopped(at("run.ckpt"), { step: 3 });
    mkdirSync(at("full"), { recursive: true });
    linkSync(at("run.ckpt"), at("full/last.ckpt"));
    expect((await previous("auto", "full"))!.progress.step).toBe(3);
  });

  it("refuses weights that are not of a run, and advises --pretrained", async () => {
    const model = buildModel({ arch: "MobileNet", block: "base", numClasses: 4 });
    saveCheckpoint(at("plain.ckpt"), { model, state: filledState(model.graph) });
    expect(await failureOf(() => previous(at("plain.ckpt")))).toMatchObject({
      kind: "file",
      message: `${at("plain.ckpt")}: is not the checkpoint of a run; to start from its weights use --pretrained`,
    });
  });

  it.each([
    ["no JSON", "{"],
    ["null", "null"],
    ["a missing sum", '{"stepsPerEpoch":4,"seconds":0,"bestEpoch":null,"sums":{"images":0}}'],
    ["a negative number", '{"stepsPerEpoch":-4,"seconds":0,"bestEpoch":null,"sums":{}}'],
    ["text for a number", '{"stepsPerEpoch":"4","seconds":0,"bestEpoch":null,"sums":{}}'],
  ])("refuses %s in place of its numbers", async (_what, run) => {
    const model = buildModel({ arch: "MobileNet", block: "base", numClasses: 4 });
    saveCheckpoint(at("bad.ckpt"), {
      ...{ model, state: filledState(model.graph) },
      metadata: { epoch: 1, step: 4, recipe: {}, other: new Map([["run", run]]) },
    });
    expect(await failureOf(() => previous(at("bad.ckpt")))).toMatchObject({
      kind: "file",
      message: `${at("bad.ckpt")}: the metadata "run" cannot be meant`,
    });
  });

  it("refuses a file that is not there", async () => {
    expect(existsSync(at("gone.ckpt"))).toBe(false);
    expect(await failureOf(() => previous(at("gone.ckpt")))).toMatchObject({ kind: "file" });
  });
});

describe("startOf", () => {
  it("goes on inside an epoch only with the same steps", async () => {
    const { config } = stopped(at("inside.ckpt"), { step: 6, epoch: 1 });
    const found = await previous(at("inside.ckpt"));
    expect(startOf(config, found, 4, SILENT_OBSERVER)).toMatchObject({ epoch: 1, step: 6 });
    const failure = await failureOf(() => startOf(config, found, 2, SILENT_OBSERVER));
    expect(failure).toMatchObject({
      kind: "usage",
      message:
        `${at("inside.ckpt")} stopped inside an epoch of 4 steps, and now there are 2: ` +
        "go on with the same data and --batch-size",
    });
  });

  it("counts the steps anew between epochs", async () => {
    const { config } = stopped(at("between.ckpt"), { step: 8, epoch: 2, sums: NO_SUMS });
    const found = await previous(at("between.ckpt"));
    expect(startOf(config, found, 3, SILENT_OBSERVER)).toMatchObject({ epoch: 2, step: 6 });
  });

  it("keeps quiet about settings that change nothing, and about those that have not changed", async () => {
    const messages: string[] = [];
    stopped(at("same.ckpt"), {});
    const config = configOf("elsewhere", { workers: 3, keep: 2, "print-freq": 7, threads: 2 });
    startOf(config, await previous(at("same.ckpt")), 4, {
      ...SILENT_OBSERVER,
      message: (text) => messages.push(text),
    });
    expect(messages).toEqual([]);
  });
});

describe("checkSameModel", () => {
  it.each([
    [{ block: "DBB" }, "MobileNet x DBB, train structure, 4 classes"],
    [{ numClasses: 5 }, "MobileNet x base, train structure, 5 classes"],
    [{ arch: "ResNet-18" }, "ResNet-18 x base, train structure, 4 classes"],
  ])("refuses another model: %j", async (change, name) => {
    stopped(at("model.ckpt"), {});
    const checkpoint = loadCheckpoint(at("model.ckpt"));
    checkpoint.close();
    const options = { arch: "MobileNet", block: "base", numClasses: 4, imageSize: 32, ...change };
    expect(() => checkSameModel(checkpoint, buildModel({ ...options, imageSize: 64 }))).toThrow(
      `${at("model.ckpt")}: is MobileNet x base, train structure, 4 classes; this run trains ${name}`,
    );
    // The size of the images may change.
    const same = buildModel({ ...checkpoint.model, imageSize: 64 });
    expect(() => checkSameModel(checkpoint, same)).not.toThrow();
  });
});
