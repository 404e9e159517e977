// Trainings of several processes in one: each has a trainer, a linear model, and its part of the images.

import { batchAt, epochOrder, rankShare, sortedOrder } from "../../../src/data/sampler.js";
import type {
  BatchResult,
  Engine,
  Executable,
  ExecutableState,
} from "../../../src/engine/types.js";
import type { State, StateSource } from "../../../src/graph/index.js";
import type { TrainingBatch, TrainingData, ValidationData } from "../../../src/train/data.js";
import type { Place } from "../../../src/train/distributed/place.js";
import { ALONE, inTeam, type Team } from "../../../src/train/distributed/team.js";
import { beginning } from "../../../src/train/progress.js";
import { openMetrics, openRunDirectory, SILENT_OBSERVER } from "../../../src/train/run/index.js";
import { type Outcome, runTraining, type TrainerParts } from "../../../src/train/trainer.js";
import { FakeGroups } from "../../helpers/fake-group.js";
import { graphOf, weight } from "../../helpers/graphs.js";
import { newRun, savedRun } from "../fake-run.js";

export const IMAGES = 24;
const VALIDATION = 7;
const graph = graphOf((scope) => {
  const features = scope.flatten(scope.globalAvgPool(scope.input([2, 1, 1])));
  return { logits: scope.linear(features, weight(scope, "w", [1, 2]), undefined) };
});

/** The features and the target of an image follow from its number. */
const featuresOf = (image: number) => [Math.sin(image), Math.cos(3 * image)] as const;
const targetOf = (image: number) => Math.sin(2 * image) + 0.3;

/** Least squares, in float64: the loss is the mean of (w·x - t)^2, with momentum; labels are the images. */
export class LinearExecutable implements Executable {
  readonly #team: Team;
  w = [0.5, -0.25];
  velocity = [0, 0];
  /** Images of each training step, and of the evaluation. */
  readonly steps: number[][] = [];
  readonly evaluated: number[] = [];

  constructor(team: Team) {
    this.#team = team;
  }

  async trainStep(
    { labels }: { labels: unknown },
    { learningRate, gradientScale = 1 }: { learningRate: number; gradientScale?: number },
  ): Promise<BatchResult> {
    const images = [...(labels as Int32Array)];
    const gradient = new Float64Array(2);
    let loss = 0;
    for (const image of images) {
      const x = featuresOf(image);
      const error = this.w[0]! * x[0] + this.w[1]! * x[1] - targetOf(image);
      loss += error ** 2 / images.length;
      x.forEach(
        (value, i) => (gradient[i]! += (gradientScale * 2 * error * value) / images.length),
      );
    }
    await this.#team.group?.allReduce(gradient);
    this.velocity = this.velocity.map((v, i) => 0.9 * v + gradient[i]! / this.#team.worldSize);
    this.w = this.w.map((w, i) => w - learningRate * this.velocity[i]!);
    this.steps.push(gradientScale === 0 ? [] : images);
    return { loss, top1: images.filter((image) => image % 2 === 0).length, top5: images.length };
  }

  async evaluate({ labels }: { labels: unknown }): Promise<BatchResult> {
    const images = [...(labels as Int32Array)];
    this.evaluated.push(...images);
    const loss = images.reduce((sum, image) => sum + image, 0) / images.length;
    return { loss, top1: images.filter((image) => image < 3).length, top5: images.length };
  }

  async state(): Promise<ExecutableState> {
    return { state: stateOf(this.w), momentum: stateOf(this.velocity), ema: undefined };
  }

  async restore(values: Partial<Record<keyof ExecutableState, StateSource>>): Promise<void> {
    const numbers = (source: StateSource | undefined) => source?.get("w")?.data;
    const [w, velocity] = [numbers(values.state), numbers(values.momentum)];
    if (w !== undefined) this.w = Array.from(w, Number);
    if (velocity !== undefined) this.velocity = Array.from(velocity, Number);
  }

  infer = absent;
  differentiate = absent;
  dispose = () => Promise.resolve();
}

function absent(): Promise<never> {
  return Promise.reject(new Error("training does not ask for it"));
}

function stateOf(w: readonly number[]): State {
  return new Map([["w", { shape: [1, 2], data: Float32Array.from(w) }]]);
}

/** This process's part of batches of `batchSize`, without the images in `missing`. */
function dataOf(team: Team, batchSize: number, missing: ReadonlySet<number>): TrainingData {
  return {
    stepsPerEpoch: Math.floor(IMAGES / batchSize),
    async *epoch(epoch, { from, signal }) {
      const order = epochOrder(IMAGES, 5, epoch);
      for (let place = from; place < Math.floor(IMAGES / batchSize); place++) {
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
        const share = rankShare(batchAt(order, batchSize, place), team.rank, team.worldSize);
        const labels = Int32Array.from(share.filter((image) => !missing.has(image)));
        const bad = [...share].filter((image) => missing.has(image));
        const batch: TrainingBatch = {
          images: { shape: [labels.length, 1, 1, 2], data: new Uint8Array(2 * labels.length) },
          ...{ labels, count: labels.length, waitSeconds: 0 },
          bad: bad.map((image) => ({ path: `${image}.jpg`, reason: "corrupt" })),
          release: () => undefined,
        };
        yield batch;
      }
    },
  };
}

function validationOf({ rank, worldSize }: Team): ValidationData {
  return {
    images: VALIDATION,
    async *batches({ signal }) {
      for (let from = 0; from < VALIDATION; from += 3) {
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
        const batch = batchAt(sortedOrder(VALIDATION), 3, from / 3);
        const labels = Int32Array.from(rankShare(batch, rank, worldSize));
        const images = { shape: [labels.length, 1, 1, 2], data: new Uint8Array(2 * labels.length) };
        yield { images, labels, release: () => undefined };
      }
    },
  };
}

export interface TogetherOptions {
  readonly worldSize: number;
  readonly config?: Partial<TrainerParts["config"]>;
  readonly missing?: readonly number[];
  readonly resume?: string;
  /** By rank. */
  readonly onStep?: (rank: number, step: number) => void;
  readonly onValidation?: (rank: number) => void;
  readonly stops?: readonly AbortController[];
}

export interface TogetherOutcome {
  readonly outcomes: readonly Outcome[];
  readonly executables: readonly LinearExecutable[];
  /** Of each step, as the leader tells. */
  readonly losses: readonly number[];
  readonly directory: string;
}

/** Batches of 8 over all processes; two epochs of three steps. */
export async function together(options: TogetherOptions): Promise<TogetherOutcome> {
  const { worldSize, resume, missing = [] } = options;
  const directory = resume ?? newRun();
  const losses: number[] = [];
  const executables: LinearExecutable[] = [];
  const groups = new FakeGroups(worldSize);
  const one = async (team: Team, stop: AbortController): Promise<Outcome> => {
    const executable = (executables[team.rank] = new LinearExecutable(team));
    const data = dataOf(team, 8, new Set(missing));
    const saved = resume === undefined ? undefined : savedRun(`${resume}/last.ckpt`);
    if (saved !== undefined) await executable.restore(saved);
    const start = saved?.progress ?? beginning(data.stepsPerEpoch, 0);
    const files = team.isLeader
      ? {
          directory: await openRunDirectory(directory, { resume: resume !== undefined }),
          metrics: openMetrics(`${directory}/metrics.jsonl`, start),
        }
      : undefined;
    try {
      const parts: TrainerParts = {
        config: {
          ...{ epochs: 2, lr: 0.1, schedule: { decline: { kind: "cosine" }, warmup: null } },
          ...{ maxSteps: null, printFreq: 1, saveEverySteps: null, keep: 0 },
          onBadImage: missing.length > 0 ? "skip" : "fail",
          ...options.config,
        },
        identity: {
          model: {
            ...{ arch: "tiny", block: "base", structure: "train", numClasses: 2, imageSize: 1 },
            ...{ graph, layers: [] },
          },
          ...{ classNames: ["no", "yes"], config: {}, stepsPerEpoch: data.stepsPerEpoch },
        },
        ...{ team, executable, averaged: undefined, data, start, files },
        validation: validationOf(team),
        observer: {
          ...SILENT_OBSERVER,
          step: ({ step, loss }) => {
            if (team.isLeader) losses.push(loss);
            options.onStep?.(team.rank, step);
          },
          validation: () => options.onValidation?.(team.rank),
        },
      };
      return await runTraining(parts, stop.signal);
    } finally {
      files?.metrics.close();
      files?.directory.close();
    }
  };
  const stopOf = (rank: number) => options.stops?.[rank] ?? new AbortController();
  const outcomes =
    worldSize === 1
      ? [await one(ALONE, stopOf(0))]
      : await Promise.all(
          groups.ranks.map((group) => {
            const engine = { name: "fake", connect: () => Promise.resolve(group) };
            const place: Place = {
              ...{ rank: group.rank, worldSize, localRank: group.rank, localSize: worldSize },
              ...{ url: "tcp://h:1", backend: null, timeoutSeconds: 10 },
            };
            const stop = stopOf(group.rank);
            return inTeam(
              { engine: engine as unknown as Engine, place, stop: stop.signal },
              (team) => one(team, stop),
            );
          }),
        );
  return { outcomes, executables, losses, directory };
}
