/** What a training run tells whoever shows it: the command line's progress bar, or nobody. */

export interface EpochStart {
  /** The first is 1. */
  readonly epoch: number;
  readonly epochs: number;
  /** Steps of the epoch, and how many of them were done before (in a run that goes on mid-epoch). */
  readonly steps: number;
  readonly done: number;
}

export interface StepDone {
  /** Steps of this epoch done, this one included. */
  readonly step: number;
  readonly loss: number;
  /** Percent. */
  readonly acc1: number;
  readonly acc5: number;
  readonly lr: number;
  readonly imagesPerSecond: number;
  /** Seconds of the step, and those of them that it waited for its images. */
  readonly stepSeconds: number;
  readonly dataSeconds: number;
}

export interface EpochDone {
  readonly epoch: number;
  readonly trainLoss: number;
  /** Undefined where there was no validation. */
  readonly validation:
    | {
        readonly loss: number;
        readonly acc1: number;
        readonly acc5: number;
        /** The highest acc1 so far. */
        readonly best: number;
      }
    | undefined;
  /** Learning rate of the last step. */
  readonly lr: number;
  /** Training and validation. */
  readonly seconds: number;
}

export interface TrainingObserver {
  epochStarted(this: void, epoch: EpochStart): void;
  step(this: void, step: StepDone): void;
  /** So many validation images of so many are done. */
  validation(this: void, done: number, total: number): void;
  epochDone(this: void, epoch: EpochDone): void;
  /** One line that people should see. */
  message(this: void, text: string): void;
  /** The run has ended, whether it is complete or was stopped. */
  finished(this: void): void;
}

export const SILENT_OBSERVER: TrainingObserver = {
  epochStarted: () => undefined,
  step: () => undefined,
  validation: () => undefined,
  epochDone: () => undefined,
  message: () => undefined,
  finished: () => undefined,
};
