// The training loop against an engine that keeps account: what happens when, what is written, what is kept.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "@jest/globals";

import { RepkitError } from "../../src/errors.js";
import type { TrainingData, ValidationData } from "../../src/train/data.js";
import { failureOf } from "../helpers/failures.js";
import {
  fakeData,
  FakeExecutable,
  fakeValidation,
  newRun,
  run,
  savedRun,
  timelessMetrics,
  weightsIn,
} from "./fake-run.js";

/** A validation whose accuracies, by epoch, are so many of four images. */
function scores(...hits: number[]): FakeExecutable {
  const executable = new FakeExecutable();
  executable.evaluate = async ({ labels }) => {
    executable.calls.push("evaluate");
    return { loss: 1, top1: hits.shift()!, top5: (labels as Int32Array).length };
  };
  return executable;
}

const oneBatch: ValidationData = {
  images: 4,
  async *batches() {
    const images = { shape: [4, 1, 1, 2], data: new Uint8Array(8) };
    yield { images, labels: new Int32Array(4), release: () => undefined };
  },
};

const checkpoints = (directory: string) =>
  readdirSync(directory)
    .filter((name) => name.endsWith(".ckpt"))
    .sort();

describe("an undisturbed run", () => {
  it("takes the steps of each epoch in order, then validates; every batch is released once", async () => {
    const executable = new FakeExecutable();
    const data = fakeData(3);
    const outcome = await run({ executable, data });
    expect(executable.calls).toEqual([
      ...["step 0", "step 1", "step 2", "evaluate 3", "evaluate 1"],
      ...["step 100", "step 101", "step 102", "evaluate 3", "evaluate 1"],
    ]);
    expect(data.released).toEqual([0, 1, 2, 100, 101, 102]);
    expect(outcome).toMatchObject({ stopped: false, progress: { epoch: 2, step: 6 } });
    // Of 3 images 2 are right, of 1 none.
    expect(outcome.evaluation).toMatchObject({ acc1: 50, acc5: 100, images: 4 });
  });

  it("gives every step its own learning rate", async () => {
    const executable = new FakeExecutable();
    const warmup = { form: "linear", unit: "epochs", length: 1 } as const;
    const schedule = { decline: { kind: "cosine" }, warmup } as const;
    await run({ executable, config: { lr: 0.6, schedule } });
    const third = Math.PI / 3;
    const cosine = [0, third, 2 * third].map((angle) => 0.3 * (1 + Math.cos(angle)));
    expect(executable.rates).toEqual([0.6 * (1 / 3), 0.6 * (2 / 3), 0.6, ...cosine]);
  });

  it("writes the contract's lines: printed steps, and epochs", async () => {
    const executable = new FakeExecutable();
    executable.losses.push(4, 3, 2, 1.5, 1.25, 0.5);
    const { directory } = await run({ executable });
    const epochLines = timelessMetrics(directory).filter(({ kind }) => kind === "epoch");
    const [first, second] = epochLines.map((line) => line["val_loss"] as number);
    const rate = (step: number) => 0.25 * (1 + Math.cos((Math.PI * step) / 6));
    const step = { kind: "step", acc5: 100 };
    const validated = { kind: "epoch", acc1: 50, acc5: 100, best_acc1: 50 };
    expect(timelessMetrics(directory)).toEqual([
      { ...step, epoch: 1, step: 2, loss: 3, acc1: 50, lr: rate(1) },
      // Two batches of two images, and one of one.
      { ...validated, epoch: 1, train_loss: (2 * 4 + 2 * 3 + 2) / 5, val_loss: first },
      { ...step, epoch: 2, step: 4, loss: 1.5, acc1: 0, lr: rate(3) },
      { ...step, epoch: 2, step: 6, loss: 0.5, acc1: 0, lr: rate(5) },
      { ...validated, epoch: 2, train_loss: (2 * 1.5 + 2 * 1.25 + 0.5) / 5, val_loss: second },
    ]);
    expect(second).toBeLessThan(first!);
    const [line] = readFileSync(join(directory, "metrics.jsonl"), "utf8").split("\n");
    expect(Object.keys(JSON.parse(line!) as object)).toEqual([
      ...["kind", "epoch", "step", "loss", "acc1", "acc5", "lr"],
      ...["images_per_second", "data_seconds", "step_seconds"],
    ]);
    // Both steps of the line waited a quarter of a second.
    expect(JSON.parse(line!)).toMatchObject({ data_seconds: 0.25 });
  });

  it("tells the observer of each step, in the epoch's own count", async () => {
    const steps: number[] = [];
    const times: number[] = [];
    await run({
      onStep: ({ step, dataSeconds, stepSeconds }) => {
        steps.push(step);
        times.push(stepSeconds - dataSeconds);
      },
    });
    expect(steps).toEqual([1, 2, 3, 1, 2, 3]);
    expect(Math.min(...times)).toBeGreaterThan(0);
  });

  it("says which images were skipped, and counts them", async () => {
    const messages: string[] = [];
    const bad = [{ path: "train/a/1.jpg", reason: "the end is missing" }];
    const data = fakeData(3, (batch, place) => (place === 1 ? { ...batch, bad } : batch));
    const stop = new AbortController();
    const { progress } = await run({
      ...{ data, stop },
      onMessage: (text) => messages.push(text),
      onStep: ({ step }) => {
        if (step === 2) stop.abort();
      },
    });
    expect(messages).toEqual(["skipped train/a/1.jpg: the end is missing"]);
    expect(progress.sums).toMatchObject({ images: 4, bad: 1 });
  });
});

describe("checkpoints", () => {
  it("last is the last epoch, best the one of the highest accuracy; of equals the first", async () => {
    const executable = scores(1, 3, 3, 2);
    const config = { epochs: 4 };
    const { directory, progress } = await run({ executable, validation: oneBatch, config });
    expect(checkpoints(directory)).toEqual(["best.ckpt", "last.ckpt"]);
    const best = savedRun(join(directory, "best.ckpt"));
    expect(best.progress).toMatchObject({ epoch: 2, step: 6, best: { acc1: 75, epoch: 2 } });
    const last = savedRun(join(directory, "last.ckpt"));
    expect(last.progress).toEqual(progress);
    expect(last.progress).toMatchObject({ epoch: 4, step: 12, best: { acc1: 75, epoch: 2 } });
    expect(last.state).toEqual((await executable.state()).state);
    expect(last.momentum).toEqual((await executable.state()).momentum);
  });

  it("without a validation the last one is the best", async () => {
    const { directory, evaluation, progress } = await run({ validation: null });
    expect([evaluation, progress.best]).toEqual([undefined, undefined]);
    const bytes = (name: string) => readFileSync(join(directory, name));
    expect(bytes("best.ckpt").equals(bytes("last.ckpt"))).toBe(true);
    expect(timelessMetrics(directory).at(-1)).toMatchObject({
      ...{ val_loss: null, acc1: null, acc5: null, best_acc1: null },
    });
  });

  it("--save-every-steps saves inside an epoch, with the sums so far", async () => {
    const directory = newRun();
    const seen: unknown[] = [];
    const executable = new FakeExecutable();
    executable.losses.push(8, 4, 2);
    await run({
      ...{ directory, executable, config: { saveEverySteps: 2 } },
      onStep: () => {
        const path = join(directory, "last.ckpt");
        seen.push(existsSync(path) ? savedRun(path).progress.step : 0);
        if (seen.length !== 3) return;
        const { sums } = savedRun(path).progress;
        expect(sums).toEqual({ images: 4, loss: 24, top1: 1, top5: 4, bad: 0 });
      },
    });
    // Before the save after each step itself: 2, 3 (the epoch's end), 4, 6.
    expect(seen).toEqual([0, 0, 2, 3, 4, 4]);
  });

  it("--keep keeps the newest ones under their own names", async () => {
    const { directory } = await run({ config: { epochs: 3, saveEverySteps: 2, keep: 3 } });
    expect(checkpoints(directory)).toEqual([
      ...["best.ckpt", "epoch-002.ckpt", "epoch-003.ckpt", "last.ckpt", "step-000008.ckpt"],
    ]);
    expect(savedRun(join(directory, "step-000008.ckpt")).progress).toMatchObject({ step: 8 });
    expect(savedRun(join(directory, "epoch-002.ckpt")).progress).toMatchObject({ step: 6 });
  });

  it("with averaged weights those are validated, and are the best", async () => {
    const executable = new FakeExecutable({ averages: true });
    const averaged = new FakeExecutable();
    const { directory } = await run({ executable, averaged });
    expect(executable.calls.some((call) => call.startsWith("evaluate"))).toBe(false);
    expect(averaged.calls).toEqual(["evaluate 3", "evaluate 1", "evaluate 3", "evaluate 1"]);
    // Both epochs reach the same: the first is the best.
    const [last, best] = ["last.ckpt", "best.ckpt"].map((name) => join(directory, name));
    expect(savedRun(best!).progress.epoch).toBe(1);
    expect(savedRun(last!).ema).toEqual((await executable.state()).ema);
    expect(weightsIn(best!)).not.toEqual(weightsIn(last!));
    const again = new FakeExecutable({ averages: true });
    const { directory: short } = await run({ executable: again, config: { maxSteps: 3 } });
    const { ema } = savedRun(join(short, "last.ckpt"));
    // The schedule is the same, so the first three steps are.
    expect(weightsIn(best!)).toEqual(Array.from(ema!.get("w")!.data, Number));
  });

  it("the averaged best is in place before last.ckpt says so", async () => {
    const executable = new FakeExecutable({ averages: true });
    const averaged = new FakeExecutable();
    const directory = newRun();
    const isThere: boolean[] = [];
    const state = executable.state.bind(executable);
    executable.state = () => {
      isThere.push(existsSync(join(directory, "best.ckpt")));
      return state();
    };
    await run({ directory, executable, averaged, config: { epochs: 1 } });
    // Asked for the validation, and to save it.
    expect(isThere).toEqual([false, true]);
  });
});

describe("--max-steps", () => {
  it("ends inside an epoch, without a validation", async () => {
    const executable = new FakeExecutable();
    const { directory, stopped, progress } = await run({ executable, config: { maxSteps: 4 } });
    expect(executable.calls.at(-1)).toBe("step 100");
    expect([stopped, progress.epoch, progress.step]).toEqual([false, 1, 4]);
    expect(savedRun(join(directory, "last.ckpt")).progress.step).toBe(4);
  });

  it("at the end of an epoch, with its validation; also where that was stopped before", async () => {
    const stop = new AbortController();
    const onValidation = () => stop.abort();
    const config = { maxSteps: 3 };
    const first = await run({ config, stop, onValidation });
    expect(first).toMatchObject({ stopped: true, progress: { epoch: 0, step: 3 } });
    const executable = new FakeExecutable();
    const second = await run({ config, resume: first.directory, executable });
    expect(executable.calls).toEqual(["evaluate 3", "evaluate 1"]);
    expect(second).toMatchObject({ stopped: false, progress: { epoch: 1, step: 3 } });
  });
});

/** A run that is stopped by `disturb`, and gone on with as often as it takes. */
async function withStops(
  disturb: (stop: AbortController, part: number) => Parameters<typeof run>[0],
  config = {},
) {
  const directory = newRun();
  let outcome: Awaited<ReturnType<typeof run>> | undefined;
  let part = 0;
  do {
    const stop = new AbortController();
    const resume = part === 0 ? {} : { resume: directory };
    outcome = await run({ directory, ...resume, config, stop, ...disturb(stop, part++) });
  } while (outcome.stopped && part < 20);
  return { ...outcome, parts: part };
}

function expectSameRun(found: { directory: string }, expected: { directory: string }): void {
  expect(timelessMetrics(found.directory)).toEqual(timelessMetrics(expected.directory));
  for (const name of ["last.ckpt", "best.ckpt"]) {
    expect(savedRun(join(found.directory, name))).toEqual(savedRun(join(expected.directory, name)));
  }
}

describe("a run that is stopped and gone on with is that of one that was not", () => {
  it.each([1, 2, 3, 4, 5, 6])("after step %i", async (moment) => {
    let steps = 0;
    const stopped = await withStops((stop) => ({
      onStep: () => {
        if (++steps === moment) stop.abort();
      },
    }));
    expect([stopped.parts, steps]).toEqual([2, 6]);
    expectSameRun(stopped, await run());
  });

  it("after every step, with averaged weights", async () => {
    const averaging = () => ({
      executable: new FakeExecutable({ averages: true }),
      averaged: new FakeExecutable(),
    });
    const stopped = await withStops((stop) => ({ ...averaging(), onStep: () => stop.abort() }));
    expect(stopped.parts).toBe(7);
    expectSameRun(stopped, await run(averaging()));
  });

  it("while it waits for images", async () => {
    /** The second batch never comes. */
    const stuck = (stop: AbortController): TrainingData => {
      const plain = fakeData(3);
      return {
        ...plain,
        async *epoch(epoch, options) {
          for await (const batch of plain.epoch(epoch, options)) {
            yield batch;
            setImmediate(() => stop.abort());
            await new Promise((_, reject) => {
              stop.signal.addEventListener("abort", () => reject(stop.signal.reason as Error));
            });
          }
        },
      };
    };
    const stopped = await withStops((stop, part) => (part === 0 ? { data: stuck(stop) } : {}));
    expect(stopped.parts).toBe(2);
    expectSameRun(stopped, await run());
  });

  it("in the validation, which is done again from its beginning", async () => {
    const calls: string[] = [];
    const stopped = await withStops((stop, part) => {
      const executable = new FakeExecutable();
      calls.push("|");
      executable.calls.push = (...more) => calls.push(...more);
      return { executable, ...(part === 0 ? { onValidation: () => stop.abort() } : {}) };
    });
    expectSameRun(stopped, await run());
    expect(calls.slice(0, 8)).toEqual([
      ...["|", "step 0", "step 1", "step 2", "evaluate 3"],
      ...["|", "evaluate 3", "evaluate 1"],
    ]);
  });

  it("drops what was written after the checkpoint that it goes on from", async () => {
    const executable = new FakeExecutable();
    executable.losses.push(undefined, undefined, undefined, undefined, new Error("killed"));
    const directory = newRun();
    const config = { saveEverySteps: 3, printFreq: 1 };
    await expect(run({ directory, executable, config })).rejects.toThrow("killed");
    expect(timelessMetrics(directory)).toHaveLength(5);
    await run({ resume: directory, config });
    expectSameRun({ directory }, await run({ config }));
  });
});

describe("a run that cannot go on", () => {
  const weights = [1, 2, 3, 4];

  it("stops where the loss is not a number, and names the good checkpoint", async () => {
    const executable = new FakeExecutable();
    executable.losses.push(...[2, 2, 2], new RepkitError("diverged", "the loss is NaN"));
    const data = fakeData(3);
    const directory = newRun();
    const failure = await failureOf(() => run({ directory, executable, data }));
    expect(failure.kind).toBe("diverged");
    expect(failure.message).toBe(
      `the loss is not a number in epoch 2, step 4, at a learning rate of 0.25; ${directory}/last.ckpt ` +
        "(step 3) is good; try a lower --lr, a warm-up or --precision fp32",
    );
    expect(savedRun(join(directory, "last.ckpt")).progress.step).toBe(3);
    expect(data.released).toEqual([0, 1, 2, 100]);
  });

  it.each([
    [1e4, "the loss grew to 1.00e+4 in epoch 1, step 2"],
    [Infinity, "the loss is not a number in epoch 1, step 2"],
  ])("stops where the loss is %d, before anything is saved", async (loss, message) => {
    const executable = new FakeExecutable();
    executable.losses.push(9999, loss);
    const directory = newRun();
    const config = { saveEverySteps: 1 };
    const failure = await failureOf(() => run({ directory, executable, config }));
    expect(failure.kind).toBe("diverged");
    expect(failure.message).toContain(message);
    expect(failure.message).toContain("last.ckpt (step 1) is good");
    expect(savedRun(join(directory, "last.ckpt")).progress.step).toBe(1);
    expect(timelessMetrics(directory)).toEqual([]);
  });

  it("says where there is no checkpoint, or it is that of the run before", async () => {
    const executable = new FakeExecutable();
    executable.losses.push(NaN);
    const nothing = await failureOf(() => run({ executable }));
    expect(nothing.message).toContain("; there is no checkpoint yet; ");

    const { directory } = await run({ config: { maxSteps: 1 } });
    const broken = new FakeExecutable();
    broken.losses.push(NaN);
    const before = weightsIn(join(directory, "last.ckpt"));
    const resumed = await failureOf(() => run({ resume: directory, executable: broken }));
    expect(resumed.message).toContain(`; ${directory}/last.ckpt, from which the run went on, is`);
    expect(weightsIn(join(directory, "last.ckpt"))).toEqual(before);
    expect(before).not.toEqual(weights);
  });

  it("keeps the last checkpoint where the images end, and passes the reason on", async () => {
    const data = fakeData(3, (batch, place) => {
      if (place === 2) throw new RepkitError("file", "train/a/1.jpg: no such file or folder");
      return batch;
    });
    const directory = newRun();
    const failure = await failureOf(() => run({ directory, data, config: { saveEverySteps: 1 } }));
    expect(failure).toMatchObject({ kind: "file", message: expect.stringContaining("1.jpg") });
    expect(savedRun(join(directory, "last.ckpt")).progress.step).toBe(2);
  });

  it("keeps it where the validation fails, too", async () => {
    const validation: ValidationData = {
      ...fakeValidation,
      // eslint-disable-next-line require-yield -- it fails before the first
      async *batches() {
        throw new RepkitError("file", "val/a/1.jpg: no such file or folder");
      },
    };
    const directory = newRun();
    const config = { saveEverySteps: 2 };
    const failure = await failureOf(() => run({ directory, validation, config }));
    expect(failure.message).toContain("val/a/1.jpg");
    expect(savedRun(join(directory, "last.ckpt")).progress).toMatchObject({ step: 2, epoch: 0 });
  });
});
