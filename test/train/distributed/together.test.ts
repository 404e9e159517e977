// Several processes train what one process trains: the same losses and weights, every image once.

import { readdirSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "@jest/globals";

import { epochOrder } from "../../../src/data/sampler.js";
import { savedRun, timelessMetrics } from "../fake-run.js";
import { IMAGES, together, type TogetherOptions, type TogetherOutcome } from "./together.js";

/** Sums in another order; everything is float64 but the checkpoints. */
const ROUNDING = 1e-13;

/** What is not a count. */
const ROUNDED = { loss: 0, train_loss: 0, val_loss: 0 };

const largestDifference = (a: readonly number[], b: readonly number[]) =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? Infinity))), 0);

const alone = async (options: Partial<TogetherOptions> = {}) =>
  together({ ...options, worldSize: 1 });

function expectSame(run: TogetherOutcome, other: TogetherOutcome): void {
  expect(run.losses).toHaveLength(other.losses.length);
  expect(largestDifference(run.losses, other.losses)).toBeLessThan(ROUNDING);
  for (const { w, velocity } of run.executables) {
    expect(largestDifference(w, other.executables[0]!.w)).toBeLessThan(ROUNDING);
    expect(largestDifference(velocity, other.executables[0]!.velocity)).toBeLessThan(ROUNDING);
  }
}

describe.each([2, 4, 8])("%d processes", (worldSize) => {
  it("end as one: losses, weights, metrics, the same files", async () => {
    const one = await alone();
    const several = await together({ worldSize });
    expectSame(several, one);
    for (const { evaluation, progress } of several.outcomes) {
      // 7 images, 0 to 6: 3 of them count as right.
      expect(evaluation).toMatchObject({ images: 7, acc1: 300 / 7, acc5: 100, loss: 3 });
      expect(progress).toMatchObject({ epoch: 2, step: 6 });
    }
    expect(readdirSync(several.directory).sort()).toEqual(readdirSync(one.directory).sort());
    const [a, b] = [several, one].map(({ directory }) =>
      timelessMetrics(directory).map((line) => ({ ...line, ...ROUNDED })),
    );
    expect(a).toEqual(b);
    const [mine, its] = [several, one].map(({ directory }) =>
      savedRun(join(directory, "last.ckpt")),
    );
    expect(mine!.state).toEqual(its!.state);
    expect(Object.keys(mine!).sort()).toEqual(Object.keys(its!).sort());
  });

  it("take every image of an epoch once, and evaluate every image once", async () => {
    const { executables } = await together({ worldSize });
    for (const epoch of [0, 1]) {
      const steps = [0, 1, 2].map((step) => 3 * epoch + step);
      const seen = steps.flatMap((step) =>
        executables.flatMap((each): number[] => each.steps[step]!),
      );
      expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: IMAGES }, (_, i) => i));
    }
    const evaluated = executables.flatMap((each): number[] => each.evaluated).sort();
    expect(evaluated).toEqual([0, 1, 2, 3, 4, 5, 6].flatMap((image) => [image, image]));
  });

  it("weigh images alike where some cannot be read, be it all of a process's", async () => {
    const [first, second] = epochOrder(IMAGES, 5, 0);
    const fourth = epochOrder(IMAGES, 5, 0).slice(8, 8 + 8 / worldSize);
    const missing = [first!, second!, ...fourth];
    expectSame(await together({ worldSize, missing }), await alone({ missing }));
  });
});

it("a whole batch without an image ends all, by the name of the image", async () => {
  const missing = [...epochOrder(IMAGES, 5, 0).slice(0, 8)];
  const run = together({ worldSize: 2, missing });
  await expect(run).rejects.toThrow(/jpg: corrupt; no image of a whole batch can be read$/);
});

describe("a stop", () => {
  it("of one process stops all after the same step; a run of other processes goes on", async () => {
    const stops = [0, 1, 2, 3].map(() => new AbortController());
    const onStep = (rank: number, step: number) => {
      if (rank === 2 && step === 2) stops[2]!.abort();
    };
    const stopped = await together({ worldSize: 4, stops, onStep });
    expect(stopped.outcomes.map(({ stopped: is, progress }) => [is, progress.step])).toEqual(
      // The others hear of it with the sums of the next step.
      [0, 1, 2, 3].map(() => [true, 3]),
    );
    const rest = await together({ worldSize: 2, resume: stopped.directory });
    const whole = await alone();
    expect(rest.outcomes[0]!.progress).toMatchObject({ epoch: 2, step: 6 });
    const tolerance = 1e-6; // of weights that were float32 in between
    const [w, its] = [rest, whole].map(({ executables }) => executables[0]!.w);
    expect(largestDifference(w!, its!)).toBeLessThan(tolerance);
    expect(largestDifference(rest.losses, whole.losses.slice(3))).toBeLessThan(tolerance);
  });

  it("in the validation of one process leaves it undone for all", async () => {
    const stops = [0, 1].map(() => new AbortController());
    const { outcomes, directory } = await together({
      ...{ worldSize: 2, stops },
      onValidation: (rank) => rank === 1 && stops[1]!.abort(),
    });
    for (const { stopped, progress } of outcomes) {
      expect([stopped, progress.epoch, progress.step]).toEqual([true, 0, 3]);
    }
    expect(savedRun(join(directory, "last.ckpt")).progress).toMatchObject({ epoch: 0, step: 3 });
    const rest = await together({ worldSize: 4, resume: directory });
    expect(rest.outcomes[3]!.progress).toMatchObject({ epoch: 2, step: 6 });
  });
});

it("--max-steps ends all after that step", async () => {
  const { outcomes } = await together({ worldSize: 4, config: { maxSteps: 2 } });
  expect(outcomes.map(({ progress }) => progress.step)).toEqual([2, 2, 2, 2]);
});

it("a loss that explodes is the leader's to tell; the others carry its exit code", async () => {
  const run = together({ worldSize: 2, config: { lr: 1e9 } });
  await expect(run).rejects.toMatchObject({ kind: "diverged" });
});
