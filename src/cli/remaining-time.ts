/** How long a training run will still take. */
import type { EpochDone, EpochStart, StepDone } from "../train/run/index.js";

/** A new step counts at least for so much: the estimate follows a machine that becomes busy. */
const NEWEST_SHARE = 0.02;

export class RemainingTime {
  #epoch: EpochStart | undefined;
  #stepsDone = 0;
  #measured = 0;
  /** Of a step, mean. */
  #stepSeconds = 0;
  /** Of the steps of this epoch, in all. */
  #trainingSeconds = 0;
  /** What an epoch takes besides its steps: validation, checkpoints. */
  #otherSeconds = 0;

  epochStarted(epoch: EpochStart): void {
    this.#epoch = epoch;
    this.#stepsDone = epoch.done;
    this.#trainingSeconds = 0;
  }

  step({ step, stepSeconds }: StepDone): void {
    this.#stepsDone = step;
    this.#trainingSeconds += stepSeconds;
    this.#measured++;
    const share = Math.max(NEWEST_SHARE, 1 / this.#measured);
    this.#stepSeconds += (stepSeconds - this.#stepSeconds) * share;
  }

  epochDone({ seconds }: EpochDone): void {
    this.#otherSeconds = Math.max(0, seconds - this.#trainingSeconds);
  }

  /** To the end of the run. */
  seconds(): number {
    if (this.#epoch === undefined) return 0;
    const { epoch, epochs, steps } = this.#epoch;
    const epochsAfter = epochs - epoch;
    const stepsLeft = steps - this.#stepsDone + epochsAfter * steps;
    return stepsLeft * this.#stepSeconds + (epochsAfter + 1) * this.#otherSeconds;
  }
}
