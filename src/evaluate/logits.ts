/** The logits of a whole data set, kept while it is evaluated and written to a file at the end. */
import { accessSync, constants, statSync } from "node:fs";
import { dirname } from "node:path";

import { writeSafetensors } from "../checkpoint/index.js";
import type { BatchResult, Executable } from "../engine/types.js";
import { fileError, usageError } from "../errors.js";
import type { Graph } from "../graph/index.js";
import type { EvaluationBatch, Evaluator } from "./evaluate.js";
import { inferLogits } from "./infer.js";
import { score } from "./score.js";

/** Larger arrays cannot be had everywhere. */
const MAX_LOGITS = 2 ** 31;

export interface LogitsSize {
  /** At most so many. */
  readonly images: number;
  readonly classes: number;
}

/** Throws where logits of this size cannot be written at `path`, before any work is done for them. */
export function checkLogitsFile(path: string, { images, classes }: LogitsSize): void {
  if (images * classes > MAX_LOGITS) {
    throw usageError(
      `--logits: ${images} images x ${classes} classes are more than ${MAX_LOGITS} values; take fewer images`,
    );
  }
  const folder = dirname(path);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw fileError(path, `cannot write: the folder ${folder} does not exist`);
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw fileError(path, "cannot write: is a folder; name a file in it");
  }
  try {
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw fileError(path, `cannot write: the folder ${folder} is not writable`, { cause });
  }
}

/** Evaluates like the executable, by its logits. Auxiliary heads have no part in it. */
export class LogitsRecorder implements Evaluator {
  readonly #executable: Pick<Executable, "infer">;
  readonly #graph: Graph;
  readonly #classes: number;
  readonly #logits: Float32Array;
  readonly #labels: BigInt64Array;
  #count = 0;

  constructor(executable: Pick<Executable, "infer">, graph: Graph, size: LogitsSize) {
    this.#executable = executable;
    this.#graph = graph;
    this.#classes = size.classes;
    this.#logits = new Float32Array(size.images * size.classes);
    this.#labels = new BigInt64Array(size.images);
  }

  async evaluate(batch: Pick<EvaluationBatch, "images" | "labels">): Promise<BatchResult> {
    const { images, labels } = batch;
    const logits = await inferLogits(this.#executable, this.#graph, images);
    this.#logits.set(logits.data, this.#count * this.#classes);
    this.#labels.set(BigInt64Array.from(labels, BigInt), this.#count);
    this.#count += labels.length;
    return score(logits, labels);
  }

  /** `logits` [N, classes] float32 and `labels` [N] int64, of the images in the order they came. */
  write(path: string): void {
    const [images, classes] = [this.#count, this.#classes];
    const logits = this.#logits.subarray(0, images * classes);
    writeSafetensors(path, [
      { name: "logits", tensor: { shape: [images, classes], data: logits } },
      { name: "labels", tensor: { shape: [images], data: this.#labels.subarray(0, images) } },
    ]);
  }
}
