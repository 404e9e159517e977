/** The job behind `repkit test`: a checkpoint's accuracy on a folder of images. */
import { type BadImage, type EvaluationView, type ImageBatch, Loader } from "../data/index.js";
import type { Engine, LoadOptions } from "../engine/types.js";
import { usageError } from "../errors.js";
import type { Model } from "../zoo/index.js";
import { type Evaluation, evaluationOf, type EvaluationShare, evaluationSums } from "./evaluate.js";
import { openTestFolder } from "./folder.js";
import { checkLogitsFile, LogitsRecorder } from "./logits.js";
import { type ModelChoice, openModel } from "./model.js";

export interface TestOptions extends ModelChoice {
  /** A folder with val/<class>/, or of class folders. */
  readonly data: string;
  /** Asked for once all files are found to be in order. */
  readonly engine: () => Promise<Engine>;
  readonly load: LoadOptions;
  readonly batchSize: number;
  /** Threads that prepare images; 0: this one. */
  readonly workers: number;
  readonly onBadImage: "skip" | "fail";
  /** Accept files whose end is missing. */
  readonly lenient: boolean;
  /** Write the logits here: `.safetensors`. */
  readonly logits?: string | undefined;
  /** Told what was assumed, before the work begins. */
  readonly onNote: (note: string) => void;
  readonly onSkipped: (image: BadImage) => void;
  /** Told the images found so far, while the folder is scanned. */
  readonly onScan?: (files: number) => void;
  readonly onProgress: (done: number, total: number) => void;
  /** Where several processes share the images; each is told of the images that it skips itself. */
  readonly share?: EvaluationShare | undefined;
}

export interface TestResult extends Evaluation {
  readonly model: Model;
  readonly view: EvaluationView;
  readonly engine: Engine;
  /** Absolute path of the folder of class folders. */
  readonly folder: string;
  readonly skipped: readonly BadImage[];
}

/** Beyond any use, and a batch still fits one array. */
const MAX_BATCH_BYTES = 2 ** 31;

export async function testCheckpoint(options: TestOptions): Promise<TestResult> {
  const { logits, batchSize, share } = options;
  const { checkpoint, view } = openModel(options);
  try {
    const { model, state, metadata, notes } = checkpoint;
    if (batchSize * view.crop ** 2 * 3 > MAX_BATCH_BYTES) {
      throw usageError(
        `--batch-size: expected images of no more than ${MAX_BATCH_BYTES} bytes in all, received ${batchSize}`,
      );
    }
    notes.forEach(options.onNote);
    const classes = { numClasses: model.numClasses, classNames: metadata?.classNames };
    const { onScan: onProgress } = options;
    const scan = onProgress === undefined ? {} : { onProgress };
    const data = await openTestFolder(options.data, classes, scan);
    data.notes.forEach(options.onNote);
    const { folder } = data;
    const size = { images: folder.files.length, classes: model.numClasses };
    if (logits !== undefined) checkLogitsFile(logits, size);

    const engine = await options.engine();
    const executable = await engine.load(model.graph, state, options.load);
    const recorder =
      logits === undefined ? undefined : new LogitsRecorder(executable, model.graph, size);
    const loader = new Loader({
      ...{ folder, view, batchSize, shuffle: false, workers: options.workers },
      onBadImage: options.onBadImage,
      ...(share === undefined ? {} : { rank: share.rank, worldSize: share.worldSize }),
      read: { lenient: options.lenient },
    });
    const skipped: BadImage[] = [];
    try {
      const batches = noting(loader.epoch(0), (image) => {
        skipped.push(image);
        options.onSkipped(image);
      });
      const started = performance.now();
      const sums = await evaluationSums(recorder ?? executable, batches, {
        onProgress: (done) => {
          const all = (done + skipped.length) * (share?.worldSize ?? 1);
          options.onProgress(Math.min(all, size.images), size.images);
        },
      });
      const [images = 0, loss = 0, top1 = 0, top5 = 0] = (await share?.sum(sums)) ?? sums;
      const evaluation = evaluationOf([images, loss, top1, top5], started);
      if (logits !== undefined) recorder?.write(logits);
      return { ...evaluation, model, view, engine, folder: folder.root, skipped };
    } finally {
      await loader.close();
      await executable.dispose();
    }
  } finally {
    checkpoint.close();
  }
}

/** The same batches; `onSkipped` is told the images that they lack. */
async function* noting(
  batches: AsyncIterable<ImageBatch>,
  onSkipped: (image: BadImage) => void,
): AsyncGenerator<ImageBatch, void> {
  for await (const batch of batches) {
    batch.bad.forEach(onSkipped);
    yield batch;
  }
}
