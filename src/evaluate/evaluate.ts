/** Loss and accuracy of a model on a data set. */
import type { BatchResult } from "../engine/types.js";
import type { Images } from "../graph/index.js";

export interface EvaluationBatch {
  readonly images: Images;
  readonly labels: Int32Array;
  /** The images are not used any more. */
  release(this: void): void;
}

/** An `Executable`, or what stands in for one. */
export interface Evaluator {
  evaluate(batch: Pick<EvaluationBatch, "images" | "labels">): Promise<BatchResult>;
}

export interface Evaluation {
  /** Mean cross-entropy. */
  readonly loss: number;
  /** Percent of the images whose class is the first guess, or among the first five. */
  readonly acc1: number;
  readonly acc5: number;
  readonly images: number;
  readonly seconds: number;
}

export interface EvaluateOptions {
  /** Told the images that are done, after each batch. */
  readonly onProgress?: (images: number) => void;
}

/** Over images: their number, their cross-entropies, and those that were right. */
export type EvaluationSums = readonly [images: number, loss: number, top1: number, top5: number];

/** The part of an evaluation that is one process's, where several share it. */
export interface EvaluationShare {
  readonly rank: number;
  readonly worldSize: number;
  /** Adds up numbers over the processes; each gets the sums. */
  sum(values: readonly number[]): Promise<readonly number[]>;
}

/** Runs the model in evaluation mode on all batches. Without any image the means are NaN. */
export async function evaluate(
  evaluator: Evaluator,
  batches: AsyncIterable<EvaluationBatch>,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const started = performance.now();
  return evaluationOf(await evaluationSums(evaluator, batches, options), started);
}

/** `evaluate` of one process's batches, before the sums of all are made means. */
export async function evaluationSums(
  evaluator: Evaluator,
  batches: AsyncIterable<EvaluationBatch>,
  { onProgress }: EvaluateOptions = {},
): Promise<EvaluationSums> {
  let [images, loss, top1, top5] = [0, 0, 0, 0];
  for await (const batch of batches) {
    const count = batch.labels.length;
    try {
      if (count === 0) continue;
      const result = await evaluator.evaluate({ images: batch.images, labels: batch.labels });
      images += count;
      loss += result.loss * count;
      top1 += result.top1;
      top5 += result.top5;
    } finally {
      batch.release();
    }
    onProgress?.(images);
  }
  return [images, loss, top1, top5];
}

/** `started`: when, by `performance.now()`. */
export function evaluationOf(
  [images, loss, top1, top5]: EvaluationSums,
  started: number,
): Evaluation {
  return {
    loss: loss / images,
    acc1: (100 * top1) / images,
    acc5: (100 * top5) / images,
    images,
    seconds: (performance.now() - started) / 1000,
  };
}
