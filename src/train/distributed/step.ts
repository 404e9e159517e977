/** One training step of all processes, each on its part of the batch. */
import type { BatchResult, Executable, StepOptions } from "../../engine/types.js";
import { fileError } from "../../errors.js";
import type { TrainingBatch } from "../data.js";
import type { Team } from "./team.js";

/** Over the processes. */
export interface StepTotals extends BatchResult {
  readonly images: number;
  /** Images that could not be read. */
  readonly bad: number;
  /** Whether any process is to stop after this step: then all do. */
  readonly isToStop: boolean;
}

export interface TogetherOptions {
  readonly learningRate: number;
  /** Whether a process may have fewer images than the others, or none. */
  readonly mayLackImages: boolean;
  readonly isToStop: () => boolean;
}

/**
 * The mean over all images of the batch, wherever they are: processes count by their images. One that has
 * none goes along with images that count nothing, since the others wait for its part of the sums.
 */
export async function stepTogether(
  team: Team,
  executable: Executable,
  batch: TrainingBatch,
  { learningRate, mayLackImages, isToStop }: TogetherOptions,
): Promise<StepTotals> {
  const { count, bad } = batch;
  if (team.worldSize === 1) {
    const result = await executable.trainStep(batch, { learningRate });
    return { ...result, images: count, bad: bad.length, isToStop: isToStop() };
  }
  const gradientScale = mayLackImages ? await weight(team, batch) : 1;
  const options: StepOptions = {
    learningRate,
    ...(gradientScale === 1 ? {} : { gradientScale }),
  };
  const taken = count === 0 ? standIns(batch) : batch;
  const own = await team.race(executable.trainStep(taken, options));
  const sums = await team.sum([
    ...(count === 0 ? [0, 0, 0, 0] : [count, own.loss * count, own.top1, own.top5]),
    ...[bad.length, Number(isToStop())],
  ]);
  const [images = 0, loss = 0, top1 = 0, top5 = 0, missing = 0, stops = 0] = sums;
  return { images, loss: loss / images, top1, top5, bad: missing, isToStop: stops > 0 };
}

/** What turns the mean over this process's images, averaged over processes, into that over all images. */
async function weight(team: Team, { count, bad }: TrainingBatch): Promise<number> {
  const [images = 0] = await team.sum([count]);
  const [first] = bad;
  if (images === 0 && first !== undefined) {
    throw fileError(first.path, `${first.reason}; no image of a whole batch can be read`);
  }
  return (count * team.worldSize) / images;
}

/**
 * Two grey images of the first class. NOTE: this process's batch norms see them; of their running
 * statistics only the leader's stay.
 */
function standIns({ images: { shape, data }, labels }: TrainingBatch): TrainingBatch {
  const [, ...size] = shape;
  const length = 2 * size.reduce((product, n) => product * n, 1);
  const images =
    data instanceof Uint8Array
      ? { shape: [2, ...size], data: new Uint8Array(length).fill(128) }
      : { shape: [2, ...size], data: new Float32Array(length) };
  const target = "shape" in labels ? [2, labels.shape[1] ?? 1] : [2];
  return {
    ...{ images, count: 2, waitSeconds: 0, bad: [], release: () => undefined },
    labels:
      "shape" in labels
        ? { shape: target, data: firstClass(labels.shape[1] ?? 1) }
        : new Int32Array(2),
  };
}

function firstClass(classes: number): Float32Array {
  const data = new Float32Array(2 * classes);
  data[0] = 1;
  data[classes] = 1;
  return data;
}
