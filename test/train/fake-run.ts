// A run whose engine only keeps account: what it was asked, in order, and numbers that follow from it.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll } from "@jest/globals";

import { openTensorFile, readMetadata } from "../../src/checkpoint/index.js";
import type { BatchResult, Executable, ExecutableState } from "../../src/engine/types.js";
import type { State, StateSource, Tensor } from "../../src/graph/index.js";
import type { TrainingBatch, TrainingData, ValidationData } from "../../src/train/data.js";
import { beginning } from "../../src/train/progress.js";
import {
  openMetrics,
  openRunDirectory,
  readMetrics,
  SILENT_OBSERVER,
  type StepDone,
} from "../../src/train/run/index.js";
import { type Outcome, runTraining, type TrainerParts } from "../../src/train/trainer.js";
import { stoppedRun } from "../../src/train/training-checkpoint.js";
import type { Model } from "../../src/zoo/index.js";
import { graphOf, weight } from "../helpers/graphs.js";

const graph = graphOf((scope) => {
  const features = scope.flatten(scope.globalAvgPool(scope.input([2, 1, 1])));
  return { logits: scope.linear(features, weight(scope, "w", [2, 2]), undefined) };
});

const MODEL: Model = {
  ...{ arch: "tiny", block: "base", structure: "train", numClasses: 2, imageSize: 1 },
  ...{ graph, layers: [] },
};

/** Weights that remember every batch, rate and velocity before them. */
export class FakeExecutable implements Executable {
  readonly calls: string[] = [];
  readonly rates: number[] = [];
  /** By the number of the call, from 0; undefined: from the weights. */
  readonly losses: (number | Error | undefined)[] = [];
  readonly #averages: boolean;
  #w = [1, 2, 3, 4];
  #velocity: number[] | undefined;
  #ema: number[] | undefined;

  constructor({ averages = false } = {}) {
    this.#averages = averages;
    if (averages) this.#ema = [...this.#w];
  }

  async trainStep(
    { labels }: { labels: unknown },
    { learningRate }: { learningRate: number },
  ): Promise<BatchResult> {
    const { 0: first = 0, length } = labels as Int32Array;
    const loss = this.losses[this.rates.length] ?? this.#w[0]! + 5;
    this.calls.push(`step ${first}`);
    this.rates.push(learningRate);
    if (typeof loss !== "number") throw loss;
    const velocity = this.#w.map(
      (w, i) => 0.9 * (this.#velocity?.[i] ?? 0) + 0.1 * w + (first % 7),
    );
    this.#velocity = velocity.map(Math.fround);
    this.#w = this.#w.map((w, i) => Math.fround(w - 0.01 * learningRate * this.#velocity![i]!));
    this.#ema = this.#ema?.map((ema, i) => Math.fround(0.5 * ema + 0.5 * this.#w[i]!));
    return { loss, top1: first % 2, top5: length };
  }

  async evaluate({ labels }: { labels: unknown }): Promise<BatchResult> {
    const { length } = labels as Int32Array;
    this.calls.push(`evaluate ${length}`);
    return { loss: this.#w[0]!, top1: length - 1, top5: length };
  }

  async state(): Promise<ExecutableState> {
    return {
      state: stateOf(this.#w),
      momentum: this.#velocity === undefined ? new Map<string, Tensor>() : stateOf(this.#velocity),
      ema: this.#ema === undefined ? undefined : stateOf(this.#ema),
    };
  }

  async restore(values: Partial<Record<keyof ExecutableState, StateSource>>): Promise<void> {
    const numbers = (source: StateSource | undefined) => {
      const tensor = source?.get("w");
      return tensor === undefined ? undefined : Array.from(tensor.data, Number);
    };
    this.#w = numbers(values.state) ?? this.#w;
    this.#velocity = numbers(values.momentum) ?? this.#velocity;
    if (this.#averages) this.#ema = numbers(values.ema) ?? this.#ema;
  }

  infer = absent;
  differentiate = absent;
  dispose = () => Promise.resolve();
}

function absent(): Promise<never> {
  return Promise.reject(new Error("training does not ask for it"));
}

function stateOf(w: readonly number[]): State {
  return new Map<string, Tensor>([["w", { shape: [2, 2], data: Float32Array.from(w) }]]);
}

export interface FakeData extends TrainingData {
  readonly released: number[];
}

/** Batches of two images (the last one of an epoch has one), whose labels are `100 * epoch + place`. */
export function fakeData(
  stepsPerEpoch: number,
  change: (batch: TrainingBatch, place: number) => TrainingBatch = (batch) => batch,
): FakeData {
  const released: number[] = [];
  return {
    ...{ stepsPerEpoch, released },
    async *epoch(epoch, { from, signal }) {
      for (let place = from; place < stepsPerEpoch; place++) {
        signal.throwIfAborted();
        const label = 100 * epoch + place;
        const count = place === stepsPerEpoch - 1 ? 1 : 2;
        const batch: TrainingBatch = {
          images: { shape: [count, 1, 1, 2], data: new Uint8Array(2 * count) },
          labels: new Int32Array(count).fill(label),
          ...{ count, waitSeconds: 0.25, bad: [] },
          release: () => released.push(label),
        };
        yield change(batch, place);
      }
    },
  };
}

/** Two batches: three images and one. */
export const fakeValidation: ValidationData = {
  images: 4,
  async *batches({ signal }) {
    for (const count of [3, 1]) {
      signal.throwIfAborted();
      yield {
        images: { shape: [count, 1, 1, 2], data: new Uint8Array(2 * count) },
        labels: new Int32Array(count),
        release: () => undefined,
      };
    }
  },
};

export interface FakeRun {
  readonly config?: Partial<TrainerParts["config"]>;
  readonly executable?: FakeExecutable;
  readonly averaged?: FakeExecutable;
  readonly data?: TrainingData;
  /** Null: none. */
  readonly validation?: ValidationData | null;
  /** A directory of an earlier run, to go on from its last.ckpt. */
  readonly resume?: string;
  readonly directory?: string;
  readonly stop?: AbortController;
  /** Told every step, and its number in the epoch. */
  readonly onStep?: (step: StepDone) => void;
  readonly onValidation?: () => void;
  readonly onMessage?: (text: string) => void;
}

const root = mkdtempSync(join(tmpdir(), "repkit-trainer-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let runs = 0;

/** A new directory's name. */
export const newRun = () => join(root, `run${runs++}`);

/** Runs the trainer with fakes in place of what is not given; 2 epochs of 3 steps. */
export async function run(options: FakeRun = {}): Promise<Outcome & { directory: string }> {
  const { resume, data = fakeData(3), validation = fakeValidation } = options;
  const path = options.directory ?? resume ?? newRun();
  const executable = options.executable ?? new FakeExecutable();
  const directory = await openRunDirectory(path, { resume: resume !== undefined });
  let start = beginning(data.stepsPerEpoch, 0);
  if (resume !== undefined) {
    const previous = savedRun(directory.paths.last);
    start = previous.progress;
    await executable.restore(previous);
  }
  const metrics = openMetrics(directory.paths.metrics, start);
  try {
    const outcome = await runTraining(
      {
        config: {
          ...{ epochs: 2, lr: 0.5, schedule: { decline: { kind: "cosine" }, warmup: null } },
          ...{ maxSteps: null, printFreq: 2, saveEverySteps: null, keep: 0, onBadImage: "fail" },
          ...options.config,
        },
        identity: {
          ...{ model: MODEL, classNames: ["no", "yes"] },
          ...{ config: { arch: "tiny" }, stepsPerEpoch: data.stepsPerEpoch },
        },
        ...{ executable, averaged: options.averaged, data, start },
        files: { directory, metrics },
        validation: validation ?? undefined,
        observer: {
          ...SILENT_OBSERVER,
          step: options.onStep ?? SILENT_OBSERVER.step,
          validation: options.onValidation ?? SILENT_OBSERVER.validation,
          message: options.onMessage ?? SILENT_OBSERVER.message,
        },
      },
      (options.stop ?? new AbortController()).signal,
    );
    return { ...outcome, directory: path };
  } finally {
    metrics.close();
    directory.close();
  }
}

/** What a checkpoint holds: its progress, and the fake's numbers. */
export function savedRun(path: string) {
  const file = openTensorFile(path);
  try {
    const strings = file.metadata;
    const metadata = readMetadata(path, strings);
    const run = stoppedRun({ path, file, metadata } as Parameters<typeof stoppedRun>[0]);
    const copy = (source: StateSource | undefined): State | undefined => {
      const tensor = source?.get("w");
      return tensor === undefined ? undefined : new Map([["w", tensor]]);
    };
    return {
      progress: run.progress,
      state: copy(file)!,
      ...(run.momentum === undefined ? {} : { momentum: copy(run.momentum)! }),
      ...(run.ema === undefined ? {} : { ema: copy(run.ema)! }),
    };
  } finally {
    file.close();
  }
}

/** The weights in a checkpoint. */
export function weightsIn(path: string): number[] {
  return Array.from(savedRun(path).state.get("w")!.data, Number);
}

/** The lines of metrics.jsonl without what depends on the clock. */
export function timelessMetrics(directory: string) {
  return readMetrics(join(directory, "metrics.jsonl")).map((line) =>
    Object.fromEntries(Object.entries(line).filter(([key]) => !/second/.test(key))),
  );
}
