/** The job behind `repkit predict`: the likeliest classes of single images. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

import { ImageFailure, isImageName, readImage, viewSize } from "../data/index.js";
import { evaluationPlacement } from "../data/placement.js";
import type { Engine, Executable, LoadOptions } from "../engine/types.js";
import { fileError } from "../errors.js";
import { printable } from "../util/printable.js";
import { describeSystemError } from "../util/system-error.js";
import { inferLogits } from "./infer.js";
import { type ChosenModel, type ModelChoice, openModel } from "./model.js";
import { softmax } from "./score.js";

export interface PredictOptions extends ModelChoice {
  /** Files; a folder stands for the images that lie in it. */
  readonly images: readonly string[];
  /** How many classes of each image. */
  readonly topk: number;
  /** Asked for once the weights are found to be in order. */
  readonly engine: () => Promise<Engine>;
  readonly load: LoadOptions;
  /** Accept files whose end is missing. */
  readonly lenient: boolean;
  /** Told what was assumed, before the work begins. */
  readonly onNote: (note: string) => void;
  readonly onProgress: (done: number, total: number) => void;
}

export interface ClassProbability {
  /** Its name, or `class 12` where the weights name no classes. */
  readonly class: string;
  readonly index: number;
  readonly probability: number;
}

export interface Prediction {
  readonly image: string;
  /** The likeliest first; none where the image cannot be used. */
  readonly classes: readonly ClassProbability[];
  readonly failure: ImageFailure | undefined;
}

/** One for each image, in their order. */
export async function predict(options: PredictOptions): Promise<readonly Prediction[]> {
  const images = options.images.flatMap(imagesAt);
  const chosen = openModel(options);
  const { checkpoint } = chosen;
  try {
    const { model, state, metadata, notes } = checkpoint;
    notes.forEach(options.onNote);
    if (metadata?.classNames === undefined) {
      options.onNote(
        "the weights name no classes; numbers count the sorted folders of training, from 0",
      );
    }
    const engine = await options.engine();
    const executable = await engine.load(model.graph, state, options.load);
    try {
      const predictions: Prediction[] = [];
      for (const image of images) {
        predictions.push(await predictOne(image, executable, chosen, options));
        options.onProgress(predictions.length, images.length);
      }
      return predictions;
    } finally {
      await executable.dispose();
    }
  } finally {
    checkpoint.close();
  }
}

/** The path itself, or the images in that folder (not in folders below it), sorted by name. */
function imagesAt(path: string): readonly string[] {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return [path];
  let names: string[];
  try {
    names = readdirSync(path);
  } catch (error) {
    throw fileError(printable(path), describeSystemError(error), { cause: error });
  }
  const images = names.filter(isImageName).sort();
  if (images.length === 0) throw fileError(printable(path), "no images lie in this folder");
  return images.map((name) => join(path, name));
}

async function predictOne(
  image: string,
  executable: Executable,
  { checkpoint: { model, metadata, path }, view }: ChosenModel,
  { lenient, topk }: PredictOptions,
): Promise<Prediction> {
  const size = viewSize(view);
  const pixels = new Uint8Array(size * size * 3);
  try {
    await readImage(image, evaluationPlacement(view.resize, view.crop), pixels, { lenient });
  } catch (error) {
    if (!(error instanceof ImageFailure)) throw error;
    return { image, classes: [], failure: error };
  }
  const batch = { shape: [1, size, size, 3], data: pixels };
  const probabilities = softmax((await inferLogits(executable, model.graph, batch)).data);
  if (!probabilities.every(Number.isFinite)) {
    throw fileError(
      path,
      `the outputs for ${printable(image)} are not finite; the weights are unusable`,
    );
  }
  const names = metadata?.classNames;
  const classes = Array.from(probabilities, (probability, index) => ({
    ...{ class: names?.[index] ?? `class ${index}`, index, probability },
  })).sort((a, b) => b.probability - a.probability);
  return { image, classes: classes.slice(0, topk), failure: undefined };
}
