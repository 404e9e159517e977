/** What the trainer is fed: batches of images with labels or mixed targets. */
import { type ImageBatch, type Loader, mixedTargets } from "../data/index.js";
import type { Labels } from "../engine/types.js";
import type { EvaluationBatch } from "../evaluate/evaluate.js";
import type { Images } from "../graph/index.js";

export interface TrainingBatch {
  readonly images: Images;
  readonly labels: Labels;
  /** Images. */
  readonly count: number;
  /** Seconds that the trainer waited for it. */
  readonly waitSeconds: number;
  /** Images that could not be read: path and reason. */
  readonly bad: readonly { readonly path: string; readonly reason: string }[];
  release(this: void): void;
}

export interface TrainingData {
  readonly stepsPerEpoch: number;
  /** The batches of an epoch, from 0, without the first `from` of them. */
  epoch(
    epoch: number,
    options: { readonly from: number; readonly signal: AbortSignal },
  ): AsyncIterable<TrainingBatch>;
}

export interface ValidationData {
  readonly images: number;
  batches(options: { readonly signal: AbortSignal }): AsyncIterable<EvaluationBatch>;
}

export function trainingData(loader: Loader, numClasses: number): TrainingData {
  return {
    stepsPerEpoch: loader.batches,
    async *epoch(epoch, options) {
      for await (const batch of loader.epoch(epoch, options))
        yield trainingBatch(batch, numClasses);
    },
  };
}

export function validationData(loader: Loader, images: number): ValidationData {
  return { images, batches: ({ signal }) => loader.epoch(0, { signal }) };
}

function trainingBatch(batch: ImageBatch, numClasses: number): TrainingBatch {
  const { images, labels, mixing, waitSeconds, bad, release } = batch;
  const count = labels.length;
  const targets: Labels =
    mixing === undefined
      ? labels
      : {
          shape: [count, numClasses],
          data: mixedTargets(labels, mixing.otherLabels, mixing.share, numClasses),
        };
  return { images, labels: targets, count, waitSeconds, bad, release };
}
