/** How fast an engine runs a model: training steps or inference, on one batch made once. */
import type { Batch, Device, Engine, Executable, Precision } from "../engine/types.js";
import { graphMacs, initialState } from "../graph/index.js";
import type { Model } from "../zoo/index.js";
import { randomBatch } from "./batch.js";

/** `step`: a training step, with the update. `forward`: inference. */
export type Work = "step" | "forward";

export interface MeasureOptions {
  readonly batchSize: number;
  /** Runs that count. */
  readonly steps: number;
  /** Runs before them that do not: the first ones allocate memory and choose kernels. */
  readonly warmup: number;
  /** Of the initial weights, the images and the labels. */
  readonly seed: number;
  readonly device?: Device;
  readonly precision?: Precision;
  readonly threads?: number;
  /** Ask the engine where the time goes, after the runs that count. */
  readonly profile?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

/** All runs of one kind of operation in one step or inference. */
export interface OperationTime {
  readonly name: string;
  readonly calls: number;
  readonly seconds: number;
}

export interface Measurement {
  /** Of each run that counts, in order. */
  readonly seconds: readonly number[];
  readonly medianSeconds: number;
  readonly minSeconds: number;
  readonly imagesPerSecond: number;
  /** By the multiply-adds of the graph's convolutions and linear layers (`operationsPerImage`). */
  readonly operationsPerSecond: number;
  /** The loss of the last training step. */
  readonly loss: number | undefined;
  /** Undefined where it was not asked for or the engine cannot say. */
  readonly profile: readonly OperationTime[] | undefined;
}

/** The reference's SGD. The small rate keeps numbers ordinary over many steps on one batch. */
export const LEARNING_RATE = 1e-3;
export const TRAINING = { momentum: 0.9, settings: () => ({ weightDecay: 1e-4 }) } as const;

export async function measure(
  engine: Engine,
  model: Model,
  work: Work,
  options: MeasureOptions,
): Promise<Measurement> {
  const { batchSize, steps, warmup, seed, device, precision, threads } = options;
  const { imageSize, numClasses, graph } = model;
  const batch = randomBatch({ size: batchSize, imageSize, numClasses }, seed);
  const executable = await engine.load(graph, initialState(graph, seed), {
    ...(device === undefined ? {} : { device }),
    ...(precision === undefined ? {} : { precision }),
    ...(threads === undefined ? {} : { threads }),
    ...(work === "step" ? { training: TRAINING } : {}),
  });
  try {
    const seconds: number[] = [];
    let loss: number | undefined;
    for (let run = 0; run < warmup + steps; run++) {
      options.onProgress?.(run, warmup + steps);
      const started = performance.now();
      loss = await runOnce(executable, work, batch);
      if (run >= warmup) seconds.push((performance.now() - started) / 1000);
    }
    const profile =
      options.profile === true && canProfile(executable)
        ? await executable.profile(batch)
        : undefined;
    const medianSeconds = median(seconds);
    return {
      seconds,
      medianSeconds,
      minSeconds: Math.min(...seconds),
      imagesPerSecond: batchSize / medianSeconds,
      operationsPerSecond: (batchSize * operationsPerImage(model, work)) / medianSeconds,
      loss,
      profile,
    };
  } finally {
    await executable.dispose();
  }
}

/** The loss where there is one. */
async function runOnce(
  executable: Executable,
  work: Work,
  batch: Batch,
): Promise<number | undefined> {
  if (work === "step") {
    return (await executable.trainStep(batch, { learningRate: LEARNING_RATE })).loss;
  }
  await executable.infer(batch.images);
  return undefined;
}

/**
 * Two operations per multiply-add; a training step is three forward passes' worth: forward, gradient
 * of the inputs, gradient of the weights. What computes the weights themselves (OREPA) is not counted.
 */
export function operationsPerImage({ graph }: Model, work: Work): number {
  return 2 * graphMacs(graph) * (work === "step" ? 3 : 1);
}

/** Of an even number of values the mean of the middle two; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** An executable whose engine can say where the time of one run on a batch goes. */
interface Profiling {
  profile(batch: Batch): Promise<readonly OperationTime[]>;
}

function canProfile(executable: Executable): executable is Executable & Profiling {
  return "profile" in executable && typeof executable.profile === "function";
}
