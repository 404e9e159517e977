/** How far a training run has come: all that a resumed run needs besides the engine's state. */
import type { StepTotals } from "./distributed/step.js";

export interface Progress {
  /** Epochs done, their validation included. */
  readonly epoch: number;
  /** Optimizer steps done since the run began. */
  readonly step: number;
  /** Of the epoch in hand. */
  readonly sums: EpochSums;
  /** Seconds spent on the epoch in hand, before this process took over. */
  readonly seconds: number;
  /** Highest validation accuracy, percent, and the epoch that reached it; undefined before the first. */
  readonly best: { readonly acc1: number; readonly epoch: number } | undefined;
}

/** Sums over the images of an epoch. */
export interface EpochSums {
  readonly images: number;
  readonly loss: number;
  readonly top1: number;
  readonly top5: number;
  /** Images that could not be read. */
  readonly bad: number;
}

export const NO_SUMS: EpochSums = { images: 0, loss: 0, top1: 0, top5: 0, bad: 0 };

export function beginning(stepsPerEpoch: number, startEpoch: number): Progress {
  const step = startEpoch * stepsPerEpoch;
  return { epoch: startEpoch, step, sums: NO_SUMS, seconds: 0, best: undefined };
}

export function plus(sums: EpochSums, step: StepTotals): EpochSums {
  return {
    images: sums.images + step.images,
    loss: sums.loss + step.loss * step.images,
    top1: sums.top1 + step.top1,
    top5: sums.top5 + step.top5,
    bad: sums.bad + step.bad,
  };
}
