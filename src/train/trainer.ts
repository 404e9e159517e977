/** The training loop: epochs of steps, validation, checkpoints. Nothing is lost whenever it ends. */
import type { BatchResult, Executable } from "../engine/types.js";
import { RepkitError } from "../errors.js";
import { evaluate, type Evaluation } from "../evaluate/evaluate.js";
import type { TrainConfig } from "./config.js";
import type { TrainingBatch, TrainingData, ValidationData } from "./data.js";
import { NO_SUMS, plus, type Progress } from "./progress.js";
import type { MetricsFile, RunDirectory, TrainingObserver } from "./run/index.js";
import { type LearningRate, learningRate } from "./schedule.js";
import { type RunIdentity, saveTraining } from "./training-checkpoint.js";

export interface TrainerParts {
  readonly config: Pick<
    TrainConfig,
    "epochs" | "lr" | "schedule" | "maxSteps" | "printFreq" | "saveEverySteps" | "keep"
  >;
  readonly identity: RunIdentity;
  readonly executable: Executable;
  /** Runs the averaged weights, where they are kept: then those are validated, and are the best. */
  readonly averaged: Executable | undefined;
  readonly data: TrainingData;
  /** Undefined: nothing is validated, and the last checkpoint is the best. */
  readonly validation: ValidationData | undefined;
  readonly directory: RunDirectory;
  readonly metrics: MetricsFile;
  readonly observer: TrainingObserver;
  readonly start: Progress;
  /** After each epoch: the report is due. */
  readonly onEpoch?: () => void;
}

export interface Outcome {
  /** Whether it was stopped before its end. */
  readonly stopped: boolean;
  readonly progress: Progress;
  /** Of the last epoch that was validated. */
  readonly evaluation: Evaluation | undefined;
}

/** A loss so far above that of guessing means weights beyond repair. */
const EXPLODED = 1e4;

/**
 * Trains to the end, or until `stop` aborts: then the step in hand is finished and everything saved.
 * @throws RepkitError "diverged" where the loss is not finite or explodes
 */
export async function runTraining(parts: TrainerParts, stop: AbortSignal): Promise<Outcome> {
  return new Trainer(parts, stop).run();
}

class Trainer {
  readonly #parts: TrainerParts;
  readonly #stop: AbortSignal;
  readonly #rate: LearningRate;
  #progress: Progress;
  /** Step of the last checkpoint; -1: none. */
  #saved = -1;
  #evaluation: Evaluation | undefined;
  /** Since the last printed step. */
  #window = { images: 0, steps: 0, waitSeconds: 0, started: performance.now() };
  #epochStarted = 0;

  constructor(parts: TrainerParts, stop: AbortSignal) {
    const { config, data, start } = parts;
    this.#parts = parts;
    this.#stop = stop;
    this.#progress = start;
    const length = { epochs: config.epochs, stepsPerEpoch: data.stepsPerEpoch };
    this.#rate = learningRate(config.lr, config.schedule, length);
  }

  async run(): Promise<Outcome> {
    const { config } = this.#parts;
    while (this.#progress.epoch < config.epochs && this.#goesOn()) {
      this.#epochStarted = performance.now() - 1000 * this.#progress.seconds;
      await this.#steps();
      if (this.#stepInEpoch() < this.#parts.data.stepsPerEpoch) break;
      if (!(await this.#finishEpoch())) break;
    }
    const stopped = this.#stop.aborted && this.#progress.epoch < config.epochs;
    if (this.#saved !== this.#progress.step || stopped) await this.#save();
    return { stopped, progress: this.#progress, evaluation: this.#evaluation };
  }

  /** An epoch whose last step is done lacks its validation yet, whatever `maxSteps` says. */
  #goesOn(): boolean {
    return !this.#isOver() || this.#stepInEpoch() === this.#parts.data.stepsPerEpoch;
  }

  #isOver(): boolean {
    const { maxSteps } = this.#parts.config;
    return this.#stop.aborted || (maxSteps !== null && this.#progress.step >= maxSteps);
  }

  #stepInEpoch(): number {
    return this.#progress.step - this.#progress.epoch * this.#parts.data.stepsPerEpoch;
  }

  /** The rest of an epoch's steps. */
  async #steps(): Promise<void> {
    const { config, data, observer } = this.#parts;
    const from = this.#stepInEpoch();
    const { epoch } = this.#progress;
    const steps = data.stepsPerEpoch;
    observer.epochStarted({ epoch: epoch + 1, epochs: config.epochs, steps, done: from });
    this.#resetWindow();
    try {
      for await (const batch of data.epoch(epoch, { from, signal: this.#stop })) {
        await this.#step(batch);
        const { saveEverySteps } = config;
        if (saveEverySteps !== null && this.#progress.step % saveEverySteps === 0)
          await this.#save();
        if (this.#isOver()) return;
      }
    } catch (error) {
      // A stop while waiting for images; nothing of the next step has begun.
      if (!this.#stop.aborted || error !== this.#stop.reason) throw error;
    }
  }

  async #step(batch: TrainingBatch): Promise<void> {
    const { executable, observer, config } = this.#parts;
    const lr = this.#rate(this.#progress.step);
    const started = performance.now();
    let result: BatchResult;
    try {
      result = await executable.trainStep(batch, { learningRate: lr });
    } catch (error) {
      if (error instanceof RepkitError && error.kind === "diverged") throw this.#diverged(NaN, lr);
      throw error;
    } finally {
      batch.release();
    }
    if (!(result.loss < EXPLODED)) throw this.#diverged(result.loss, lr);
    const { step, sums } = this.#progress;
    this.#progress = {
      ...this.#progress,
      step: step + 1,
      sums: plus(sums, batch, result),
      seconds: (performance.now() - this.#epochStarted) / 1000,
    };
    for (const { path, reason } of batch.bad) observer.message(`skipped ${path}: ${reason}`);
    this.#window.images += batch.count;
    this.#window.steps++;
    this.#window.waitSeconds += batch.waitSeconds;
    observer.step({
      step: this.#stepInEpoch(),
      ...{ loss: result.loss, lr },
      acc1: (100 * result.top1) / batch.count,
      acc5: (100 * result.top5) / batch.count,
      imagesPerSecond: this.#imagesPerSecond(),
      stepSeconds: (performance.now() - started) / 1000 + batch.waitSeconds,
      dataSeconds: batch.waitSeconds,
    });
    if (this.#progress.step % config.printFreq === 0) this.#record(batch, result, lr);
  }

  #imagesPerSecond(): number {
    return this.#window.images / ((performance.now() - this.#window.started) / 1000);
  }

  #resetWindow(): void {
    this.#window = { images: 0, steps: 0, waitSeconds: 0, started: performance.now() };
  }

  /** A line of metrics.jsonl: loss and accuracy of this step, times since the line before. */
  #record({ count }: TrainingBatch, { loss, top1, top5 }: BatchResult, lr: number): void {
    const { steps, waitSeconds, started } = this.#window;
    this.#parts.metrics.append({
      kind: "step",
      epoch: this.#progress.epoch + 1,
      step: this.#progress.step,
      ...{ loss, acc1: (100 * top1) / count, acc5: (100 * top5) / count, lr },
      images_per_second: this.#imagesPerSecond(),
      data_seconds: waitSeconds / steps,
      step_seconds: (performance.now() - started) / 1000 / steps,
    });
    this.#resetWindow();
  }

  /** Validates and saves; false where it was stopped before the validation was done. */
  async #finishEpoch(): Promise<boolean> {
    const { averaged, data, directory, metrics, observer, config } = this.#parts;
    let evaluation: Evaluation | undefined;
    try {
      evaluation = await this.#validate();
    } catch (error) {
      if (this.#stop.aborted && error === this.#stop.reason) return false;
      throw error;
    }
    this.#evaluation = evaluation;
    const { epoch: done, sums, best, step } = this.#progress;
    const epoch = done + 1;
    const isBest = evaluation === undefined || best === undefined || evaluation.acc1 > best.acc1;
    const bestNow = evaluation !== undefined && isBest ? { acc1: evaluation.acc1, epoch } : best;
    const seconds = (performance.now() - this.#epochStarted) / 1000;
    const trainLoss = sums.loss / sums.images;
    metrics.append({
      ...{ kind: "epoch", epoch, train_loss: trainLoss, seconds },
      val_loss: evaluation?.loss ?? null,
      acc1: evaluation?.acc1 ?? null,
      acc5: evaluation?.acc5 ?? null,
      best_acc1: bestNow?.acc1 ?? null,
    });
    this.#progress = { epoch, step, sums: NO_SUMS, seconds: 0, best: bestNow };
    // Before last.ckpt says that it is there: a run that is killed in between does this epoch's rest again.
    if (isBest && averaged !== undefined) await this.#saveAveraged(averaged);
    await this.#save();
    if (isBest && averaged === undefined) directory.markBest();
    if (config.keep > 0) directory.keepLast({ kind: "epoch", epoch }, config.keep);
    observer.epochDone({
      ...{ epoch, trainLoss, seconds },
      lr: this.#rate(epoch * data.stepsPerEpoch - 1),
      validation:
        evaluation === undefined || bestNow === undefined
          ? undefined
          : { ...evaluation, best: bestNow.acc1 },
    });
    this.#parts.onEpoch?.();
    return true;
  }

  async #validate(): Promise<Evaluation | undefined> {
    const { executable, averaged, validation, observer } = this.#parts;
    if (validation === undefined) return undefined;
    if (averaged !== undefined) {
      const { ema } = await executable.state();
      await averaged.restore({ ...(ema === undefined ? {} : { state: ema }) });
    }
    return evaluate(averaged ?? executable, validation.batches({ signal: this.#stop }), {
      onProgress: (images) => {
        observer.validation(images, validation.images);
      },
    });
  }

  async #save(): Promise<void> {
    const { directory, executable, identity, metrics, config } = this.#parts;
    metrics.flush();
    saveTraining(directory.paths.last, identity, await executable.state(), this.#progress);
    this.#saved = this.#progress.step;
    const isBetweenEpochs = this.#stepInEpoch() === 0;
    if (config.keep > 0 && !isBetweenEpochs) {
      directory.keepLast({ kind: "step", step: this.#progress.step }, config.keep);
    }
  }

  async #saveAveraged(averaged: Executable): Promise<void> {
    const { directory, identity } = this.#parts;
    saveTraining(directory.paths.best, identity, await averaged.state(), this.#progress);
  }

  #diverged(loss: number, lr: number): RepkitError {
    const { directory } = this.#parts;
    const { epoch, step } = this.#progress;
    const what = Number.isFinite(loss)
      ? `the loss grew to ${loss.toPrecision(3)}`
      : "the loss is not a number";
    const good =
      this.#saved >= 0
        ? `${directory.paths.last} (step ${this.#saved}) is good`
        : directory.hasCheckpoint()
          ? `${directory.paths.last}, from which the run went on, is good`
          : "there is no checkpoint yet";
    return new RepkitError(
      "diverged",
      `${what} in epoch ${epoch + 1}, step ${step + 1}, at a learning rate of ${Number(lr.toPrecision(4))}; ${good}; try a lower --lr, a warm-up or --precision fp32`,
    );
  }
}
