/** The training loop: epochs of steps, validation, checkpoints. Nothing is lost whenever it ends. */
import type { Executable } from "../engine/types.js";
import { RepkitError } from "../errors.js";
import { type Evaluation, evaluationOf, evaluationSums } from "../evaluate/evaluate.js";
import type { TrainConfig } from "./config.js";
import type { TrainingBatch, TrainingData, ValidationData } from "./data.js";
import { PeerFailure } from "./distributed/failure.js";
import { shareBuffers } from "./distributed/shared-state.js";
import { stepTogether, type StepTotals } from "./distributed/step.js";
import { ALONE, type Team } from "./distributed/team.js";
import { NO_SUMS, plus, type Progress } from "./progress.js";
import type { MetricsFile, RunDirectory, TrainingObserver } from "./run/index.js";
import { type LearningRate, learningRate } from "./schedule.js";
import { type RunIdentity, saveTraining } from "./training-checkpoint.js";

export interface TrainerParts {
  readonly config: Pick<
    TrainConfig,
    | ("epochs" | "lr" | "schedule" | "maxSteps" | "onBadImage")
    | ("printFreq" | "saveEverySteps" | "keep")
  >;
  /** Default: this process alone. */
  readonly team?: Team;
  readonly identity: RunIdentity;
  readonly executable: Executable;
  /** Runs the averaged weights, where they are kept: then those are validated, and are the best. */
  readonly averaged: Executable | undefined;
  readonly data: TrainingData;
  /** Undefined: nothing is validated, and the last checkpoint is the best. */
  readonly validation: ValidationData | undefined;
  /** Undefined in processes that do not lead: they write nothing. */
  readonly files: RunFiles | undefined;
  readonly observer: TrainingObserver;
  readonly start: Progress;
  /** After each epoch: the report is due. */
  readonly onEpoch?: () => void;
}

export interface RunFiles {
  readonly directory: RunDirectory;
  readonly metrics: MetricsFile;
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
 * Where several processes train, one that is to stop stops them all, after the same step.
 * @throws RepkitError "diverged" where the loss is not finite or explodes
 */
export async function runTraining(parts: TrainerParts, stop: AbortSignal): Promise<Outcome> {
  return new Trainer(parts, stop).run();
}

class Trainer {
  readonly #parts: TrainerParts;
  readonly #team: Team;
  readonly #stop: AbortSignal;
  /** Whether all processes have agreed to stop. */
  #stopAgreed = false;
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
    this.#team = parts.team ?? ALONE;
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
    const stopped = this.#isStopping() && this.#progress.epoch < config.epochs;
    if (this.#saved !== this.#progress.step || stopped) await this.#save();
    return { stopped, progress: this.#progress, evaluation: this.#evaluation };
  }

  /** An epoch whose last step is done lacks its validation yet, whatever `maxSteps` says. */
  #goesOn(): boolean {
    return !this.#isOver() || this.#stepInEpoch() === this.#parts.data.stepsPerEpoch;
  }

  #isOver(): boolean {
    const { maxSteps } = this.#parts.config;
    return this.#isStopping() || (maxSteps !== null && this.#progress.step >= maxSteps);
  }

  #isStopping(): boolean {
    return this.#stopAgreed || (this.#isAlone && this.#stop.aborted);
  }

  get #isAlone(): boolean {
    return this.#team.worldSize === 1;
  }

  #stepInEpoch(): number {
    return this.#progress.step - this.#progress.epoch * this.#parts.data.stepsPerEpoch;
  }

  /** The rest of an epoch's steps. */
  async #steps(): Promise<void> {
    const { config, data, executable, observer } = this.#parts;
    const from = this.#stepInEpoch();
    const { epoch } = this.#progress;
    const steps = data.stepsPerEpoch;
    observer.epochStarted({ epoch: epoch + 1, epochs: config.epochs, steps, done: from });
    this.#resetWindow();
    // Those who are in a step already need this process's part of it: a stop waits until it is done.
    const signal = this.#isAlone ? this.#stop : this.#team.signal;
    this.#isWaiting();
    try {
      for await (const batch of data.epoch(epoch, { from, signal })) {
        await this.#step(batch);
        this.#isWaiting();
        const { saveEverySteps } = config;
        if (saveEverySteps !== null && this.#progress.step % saveEverySteps === 0) {
          await this.#shareBuffers(executable);
          await this.#save();
        }
        if (this.#isOver()) return;
      }
    } catch (error) {
      // A stop while waiting for images; nothing of the next step has begun.
      if (!this.#stop.aborted || error !== this.#stop.reason) throw error;
    }
  }

  #isWaiting(): void {
    this.#team.at(`waiting for the images of step ${this.#progress.step + 1}`);
  }

  async #step(batch: TrainingBatch): Promise<void> {
    const { executable, observer, config } = this.#parts;
    const lr = this.#rate(this.#progress.step);
    const started = performance.now();
    this.#team.at(`in step ${this.#progress.step + 1}`);
    let totals: StepTotals;
    try {
      totals = await stepTogether(this.#team, executable, batch, {
        ...{ learningRate: lr, mayLackImages: config.onBadImage === "skip" },
        isToStop: () => this.#stop.aborted,
      });
    } catch (error) {
      if (error instanceof RepkitError && error.kind === "diverged") throw this.#diverged(NaN, lr);
      throw error;
    } finally {
      batch.release();
    }
    if (!(totals.loss < EXPLODED)) throw this.#diverged(totals.loss, lr);
    this.#stopAgreed ||= totals.isToStop;
    const { step, sums } = this.#progress;
    this.#progress = {
      ...this.#progress,
      step: step + 1,
      sums: plus(sums, totals),
      seconds: (performance.now() - this.#epochStarted) / 1000,
    };
    for (const { path, reason } of batch.bad) observer.message(`skipped ${path}: ${reason}`);
    this.#window.images += totals.images;
    this.#window.steps++;
    this.#window.waitSeconds += batch.waitSeconds;
    observer.step({
      step: this.#stepInEpoch(),
      ...{ loss: totals.loss, lr },
      acc1: (100 * totals.top1) / totals.images,
      acc5: (100 * totals.top5) / totals.images,
      imagesPerSecond: this.#imagesPerSecond(),
      stepSeconds: (performance.now() - started) / 1000 + batch.waitSeconds,
      dataSeconds: batch.waitSeconds,
    });
    if (this.#progress.step % config.printFreq === 0) this.#record(totals, lr);
  }

  #imagesPerSecond(): number {
    return this.#window.images / ((performance.now() - this.#window.started) / 1000);
  }

  #resetWindow(): void {
    this.#window = { images: 0, steps: 0, waitSeconds: 0, started: performance.now() };
  }

  /** A line of metrics.jsonl: loss and accuracy of this step, times since the line before. */
  #record({ images, loss, top1, top5 }: StepTotals, lr: number): void {
    const { steps, waitSeconds, started } = this.#window;
    this.#parts.files?.metrics.append({
      kind: "step",
      epoch: this.#progress.epoch + 1,
      step: this.#progress.step,
      ...{ loss, acc1: (100 * top1) / images, acc5: (100 * top5) / images, lr },
      images_per_second: this.#imagesPerSecond(),
      data_seconds: waitSeconds / steps,
      step_seconds: (performance.now() - started) / 1000 / steps,
    });
    this.#resetWindow();
  }

  /** Validates and saves; false where it was stopped before the validation was done. */
  async #finishEpoch(): Promise<boolean> {
    const { averaged, data, files, observer, config } = this.#parts;
    const evaluation = await this.#validate();
    if (evaluation === "interrupted") return false;
    this.#evaluation = evaluation;
    const { epoch: done, sums, best, step } = this.#progress;
    const epoch = done + 1;
    const isBest = evaluation === undefined || best === undefined || evaluation.acc1 > best.acc1;
    const bestNow = evaluation !== undefined && isBest ? { acc1: evaluation.acc1, epoch } : best;
    const seconds = (performance.now() - this.#epochStarted) / 1000;
    const trainLoss = sums.loss / sums.images;
    files?.metrics.append({
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
    if (isBest && averaged === undefined) files?.directory.markBest();
    if (config.keep > 0) files?.directory.keepLast({ kind: "epoch", epoch }, config.keep);
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

  /** All processes share the images; one that was interrupted leaves the whole undone. */
  async #validate(): Promise<Evaluation | undefined | "interrupted"> {
    const { executable, averaged, validation, observer } = this.#parts;
    const { worldSize } = this.#team;
    if (validation === undefined) return undefined;
    await this.#shareBuffers(executable);
    if (averaged !== undefined) {
      const { ema } = await executable.state();
      await averaged.restore({ ...(ema === undefined ? {} : { state: ema }) });
      await this.#shareBuffers(averaged);
    }
    const evaluated = averaged ?? executable;
    this.#team.at("in the validation");
    const started = performance.now();
    const onProgress = (images: number) => {
      observer.validation(Math.min(images * worldSize, validation.images), validation.images);
    };
    const signal = this.#isAlone ? this.#stop : AbortSignal.any([this.#stop, this.#team.signal]);
    let own: readonly number[] = [0, 0, 0, 0];
    let interrupted = 0;
    try {
      own = await evaluationSums(evaluated, validation.batches({ signal }), { onProgress });
    } catch (error) {
      if (!this.#stop.aborted || error !== this.#stop.reason) throw error;
      interrupted = 1;
    }
    this.#team.at("waiting for the others' validation");
    const stopping = Number(this.#stop.aborted);
    const all = await this.#team.sum([...own, interrupted, stopping]);
    const [images = 0, loss = 0, top1 = 0, top5 = 0, interruptions = 0, stops = 0] = all;
    this.#stopAgreed ||= stops > 0;
    if (interruptions > 0) return "interrupted";
    return evaluationOf([images, loss, top1, top5], started);
  }

  /** Where a run may go on from, all go on with the leader's, whether it was stopped there or not. */
  async #shareBuffers(executable: Executable): Promise<void> {
    this.#team.at("sharing the statistics of batch norms");
    await shareBuffers(this.#team, executable, this.#parts.identity.model.graph);
  }

  async #save(): Promise<void> {
    const { files, executable, identity, config } = this.#parts;
    if (files === undefined) {
      this.#saved = this.#progress.step;
      return;
    }
    this.#team.at("writing a checkpoint");
    const { directory, metrics } = files;
    metrics.flush();
    saveTraining(directory.paths.last, identity, await executable.state(), this.#progress);
    this.#saved = this.#progress.step;
    const isBetweenEpochs = this.#stepInEpoch() === 0;
    if (config.keep > 0 && !isBetweenEpochs) {
      directory.keepLast({ kind: "step", step: this.#progress.step }, config.keep);
    }
  }

  async #saveAveraged(averaged: Executable): Promise<void> {
    const { files, identity } = this.#parts;
    if (files === undefined) return;
    saveTraining(files.directory.paths.best, identity, await averaged.state(), this.#progress);
  }

  /** All processes know of it; it is for the leader to say so. */
  #diverged(loss: number, lr: number): RepkitError {
    const { epoch, step } = this.#progress;
    const what = Number.isFinite(loss)
      ? `the loss grew to ${loss.toPrecision(3)}`
      : "the loss is not a number";
    const { directory } = this.#parts.files ?? {};
    if (directory === undefined) {
      const message = `${what} in epoch ${epoch + 1}, step ${step + 1}`;
      return new PeerFailure({ rank: 0, kind: "diverged", message, where: undefined });
    }
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
