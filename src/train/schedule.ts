/**
 * Learning rates in closed form: that of an iteration depends on its number alone, so a resumed run
 * needs nothing but that number. All but `step` and warm-ups in epochs count in iterations.
 */
import type { ScheduleConfig, WarmupConfig } from "./config.js";

/**
 * How the rate goes down over t = 0 .. T - 1 iterations: `cosine` to base*(1 + cos(pi*t/T))/2, almost
 * 0 at the end; `step`: by `factor` after each `epochs` epochs; `constant`: not at all.
 */
export type Decline =
  | { readonly kind: "cosine" }
  | { readonly kind: "step"; readonly epochs: number; readonly factor: number }
  | { readonly kind: "constant" };

/**
 * How the rate rises over the first W of T iterations, and what the cosine after it spans:
 * `linear`: base*(t + 1)/W, so that no step is wasted on a rate of 0; then (t - W)/(T - W).
 * `orepa`: base*t/W; then (t - W)/(T - W). JUGGHM/OREPA_CVPR2022@3ed037b, utils.py, WarmupCosineAnnealingLR.
 * `timm`: base*t/W; then t/T, as if there had been no warm-up. timm's CosineLRScheduler without
 * warmup_prefix, as in DingXiaoH/RepVGG@eae7c52, train/lr_scheduler.py.
 */
export type WarmupForm = "linear" | "orepa" | "timm";

/** How long a run is. */
export interface RunLength {
  readonly epochs: number;
  /** Iterations of an epoch: whole batches of all processes together. */
  readonly stepsPerEpoch: number;
}

/** The learning rate of iteration t, from 0. */
export type LearningRate = (iteration: number) => number;

export function learningRate(base: number, schedule: ScheduleConfig, run: RunLength): LearningRate {
  const total = run.epochs * run.stepsPerEpoch;
  const warmup = warmupIterations(schedule.warmup, run.stepsPerEpoch);
  const { form = "linear" } = schedule.warmup ?? {};
  return (t) => {
    if (t < warmup) {
      // A fractional W may be overshot by t + 1.
      return base * Math.min(1, (form === "linear" ? t + 1 : t) / warmup);
    }
    return base * remaining(schedule.decline, t, form === "timm" ? 0 : warmup, total, run);
  };
}

/** Length of the warm-up in iterations; may be fractional. */
export function warmupIterations(warmup: WarmupConfig | null, stepsPerEpoch: number): number {
  if (warmup === null) return 0;
  return warmup.unit === "epochs" ? warmup.length * stepsPerEpoch : warmup.length;
}

/** What is left of the base rate at iteration t, with the cosine over `from` .. `total`. */
function remaining(
  decline: Decline,
  t: number,
  from: number,
  total: number,
  { stepsPerEpoch }: RunLength,
): number {
  switch (decline.kind) {
    case "cosine":
      return (1 + Math.cos((Math.PI * (t - from)) / (total - from))) / 2;
    case "step":
      return decline.factor ** Math.floor(t / (decline.epochs * stepsPerEpoch));
    case "constant":
      return 1;
  }
}
