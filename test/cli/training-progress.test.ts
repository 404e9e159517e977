// What a training run shows: on a terminal, in a pipe, for --quiet and --json.

import { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

import { describe, expect, it } from "@jest/globals";

import { RemainingTime } from "../../src/cli/remaining-time.js";
import { trainingProgress, type Terminal } from "../../src/cli/training-progress.js";
import type { StepDone, TrainingObserver } from "../../src/train/run/index.js";

class Screen extends Writable {
  text = "";
  readonly isTTY: boolean;
  readonly columns = 120;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  override _write(piece: Buffer, _encoding: string, done: () => void): void {
    this.text += piece.toString();
    done();
  }
}

function screens(isTTY: boolean) {
  const [stdout, stderr] = [new Screen(isTTY), new Screen(isTTY)];
  const terminal: Terminal = { stdout, stderr: stderr as unknown as NodeJS.WriteStream };
  return { stdout, stderr, terminal };
}

const step = (number: number): StepDone => ({
  ...{ step: number, loss: 1.7171, acc1: 41.25, acc5: 80, lr: 0.05, imagesPerSecond: 830.4 },
  ...{ stepSeconds: 2, dataSeconds: 0.04 },
});

/** Two epochs of five steps; the first is gone on with after two of them and validated. */
async function run(observer: TrainingObserver, pause = 0): Promise<void> {
  observer.message("resumed");
  observer.epochStarted({ epoch: 1, epochs: 2, steps: 5, done: 2 });
  for (const number of [3, 4, 5]) observer.step(step(number));
  await sleep(pause);
  observer.validation(50, 100);
  await sleep(pause);
  const validation = { loss: 1.6, acc1: 45, acc5: 82.5, best: 46 };
  observer.epochDone({ epoch: 1, trainLoss: 1.75, validation, lr: 0.05, seconds: 10 });
  observer.epochStarted({ epoch: 2, epochs: 2, steps: 5, done: 0 });
  for (const number of [1, 2, 3, 4, 5]) observer.step(step(number));
  observer.epochDone({ epoch: 2, trainLoss: 1.5, validation: undefined, lr: 1e-5, seconds: 10 });
  observer.finished();
}

const TABLE = [
  "EPOCH  TRAIN LOSS  VAL LOSS   ACC1   ACC5       LR  SECONDS",
  "    1      1.7500    1.6000  45.00  82.50     0.05     10.0",
  "    2      1.5000         -      -      -  0.00001     10.0",
  "",
].join("\n");

describe("trainingProgress in a pipe", () => {
  it("writes a line every few steps, for the last step, and for the epoch", async () => {
    const { stdout, stderr, terminal } = screens(false);
    await run(await trainingProgress({ printFreq: 2 }, terminal));
    const facts = "loss 1.717 acc1 41.25 | 830 img/s | data wait 2%";
    expect(stderr.text.split("\n")).toEqual([
      "resumed",
      `epoch 1/2 | 4/5 | ${facts} | eta 00:12`,
      `epoch 1/2 | 5/5 | ${facts} | eta 00:10`,
      "epoch 1/2 done | train loss 1.7500 val loss 1.6000 | acc1 45.00 (best 46.00) acc5 82.50 | 10.0 s",
      `epoch 2/2 | 2/5 | ${facts} | eta 00:10`,
      `epoch 2/2 | 4/5 | ${facts} | eta 00:06`,
      `epoch 2/2 | 5/5 | ${facts} | eta 00:04`,
      "epoch 2/2 done | train loss 1.5000 | 10.0 s",
      "",
    ]);
    expect(stdout.text).toBe(TABLE);
  });

  it("leaves stdout to the command with --json", async () => {
    const { stdout, stderr, terminal } = screens(false);
    await run(await trainingProgress({ printFreq: 2, json: true }, terminal));
    expect(stdout.text).toBe("");
    expect(stderr.text).toContain("epoch 2/2 done");
  });

  it.each([true, false])("is silent with --quiet (terminal: %s)", async (isTTY) => {
    const { stdout, stderr, terminal } = screens(isTTY);
    await run(await trainingProgress({ printFreq: 1, quiet: true }, terminal));
    expect(stdout.text + stderr.text).toBe("");
  });

  it("has no table where no epoch was finished", async () => {
    const { stdout, terminal } = screens(false);
    const observer = await trainingProgress({ printFreq: 1 }, terminal);
    observer.epochStarted({ epoch: 1, epochs: 2, steps: 5, done: 0 });
    observer.step(step(1));
    observer.finished();
    expect(stdout.text).toBe("");
  });
});

describe("trainingProgress on a terminal", () => {
  it("draws a bar of one line, without colours, and gives the terminal back", async () => {
    const { stdout, stderr, terminal } = screens(true);
    const listeners = process.listenerCount("exit");
    // Bars are drawn a few times per second.
    await run(await trainingProgress({ printFreq: 2 }, terminal), 250);
    expect(process.listenerCount("exit")).toBe(listeners);
    expect(stderr.text).toContain("epoch 1/2 [=");
    expect(stderr.text).toMatch(
      /epoch 1\/2 \[=+\] 100% \| loss 1\.717 acc1 41\.25 \| 830 img\/s \| data wait 2% \| eta 00:10/,
    );
    expect(stderr.text).toMatch(/epoch 1\/2 validation \[=+-+\] 50%/);
    expect(stderr.text).not.toContain("{");
    // eslint-disable-next-line no-control-regex
    expect(stderr.text).not.toMatch(/\x1b\[[\d;]*m/);
    expect(stderr.text.match(/\n/g)).toHaveLength(3); // the messages
    const [hidden, shown] = ["\x1b[?25l", "\x1b[?25h"].map((code) => stderr.text.lastIndexOf(code));
    expect(shown).toBeGreaterThan(hidden ?? Infinity);
    expect(stdout.text).toBe(TABLE);
  }, 10_000);
});

describe("RemainingTime", () => {
  it("counts the steps and the validations that are left", () => {
    const remaining = new RemainingTime();
    expect(remaining.seconds()).toBe(0);
    remaining.epochStarted({ epoch: 1, epochs: 3, steps: 10, done: 0 });
    for (let number = 1; number <= 10; number++) remaining.step(step(number));
    expect(remaining.seconds()).toBeCloseTo(40, 9);
    const validation = undefined;
    remaining.epochDone({ epoch: 1, trainLoss: 1, validation, lr: 0.1, seconds: 25 });
    remaining.epochStarted({ epoch: 2, epochs: 3, steps: 10, done: 0 });
    expect(remaining.seconds()).toBeCloseTo(40 + 2 * 5, 9);
  });

  it("follows a machine that becomes slower", () => {
    const remaining = new RemainingTime();
    remaining.epochStarted({ epoch: 1, epochs: 1, steps: 1001, done: 0 });
    for (let number = 1; number <= 500; number++) remaining.step(step(number));
    for (let number = 501; number <= 1000; number++) {
      remaining.step({ ...step(number), stepSeconds: 4 });
    }
    expect(remaining.seconds()).toBeCloseTo(4, 3);
  });
});
