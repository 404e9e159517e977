/** Settings that nobody gave: one table for all, and what the reference of each kind of model adds. */
import { availableParallelism } from "node:os";

import type { Recipe } from "./recipe-schema.js";

/**
 * What the references' scripts agree on, or the plainest choice. Three depend on others and are in
 * resolve-config.ts: val-batch-size, val-resize and out.
 */
export const DEFAULTS = {
  data: "./data", // folder with train/<class>/ and val/<class>/
  workers: availableParallelism(), // images prepared at the same time, on this node
  "img-size": 224, // pixels
  "batch-size": 256, // images per step on this node
  "on-bad-image": "fail", // as torchvision does
  lenient: false, // OREPA's loader is, DBB's is not
  "exif-orientation": false, // torchvision ignores it
  resize: "pil", // exact
  aug: "weak", // random crop and mirroring
  erasing: 0, // probability; 0: off
  "erasing-mode": "pixel", // timm's usual choice
  mixup: 0, // alpha; 0: off
  cutmix: 0, // alpha; 0: off
  "mix-probability": 1,
  "mix-switch-probability": 0.5, // of cutmix, where both are on
  epochs: 120,
  "start-epoch": 0,
  lr: 0.1, // for the whole batch, not scaled
  schedule: "cosine", // per iteration
  "step-epochs": 30, // the PyTorch example's
  "step-factor": 0.1,
  "warmup-epochs": 0,
  "warmup-form": "linear",
  momentum: 0.9,
  nesterov: false,
  "weight-decay": 1e-4,
  custwd: false,
  "label-smoothing": 0,
  "aux-weight": 0.1, // RepVGGplus's
  "clip-norm": 0, // 0: off
  "ema-decay": 0, // 0: off
  "insert-bn": false,
  engine: "auto",
  precision: "fp32",
  deterministic: false, // CPUs always are
  seed: 0,
  "multiprocessing-distributed": false,
  "dist-timeout": 180, // seconds; half of it is longer than a checkpoint takes to be written
  "print-freq": 10, // steps
  "save-every-steps": 0, // 0: after each epoch alone
  keep: 0, // older checkpoints beside the last and the best
} as const satisfies Recipe;

/**
 * How the repository that a model comes from trains it, where the repositories differ. RepVGGs are
 * RepVGG's, whatever their blocks, unless those are OREPA's; so comparisons of blocks are fair.
 */
export function referenceDefaults(arch: string, block: string, epochs: number) {
  if (block.startsWith("OREPA")) {
    return {
      "decay-rule": "orepa",
      // JUGGHM/OREPA_CVPR2022@3ed037b, train.py: WarmupCosineAnnealingLR(warmup=args.epochs/24), in iterations.
      "warmup-iterations": epochs / 24,
      "warmup-form": "orepa",
    } as const satisfies Recipe;
  }
  if (arch.startsWith("RepVGG") || block.startsWith("RepVGG")) {
    // DingXiaoH/RepVGG@eae7c52, train/optimizer.py and train/lr_scheduler.py.
    return {
      "decay-rule": "repvgg_repo",
      nesterov: true,
      "warmup-form": "timm",
    } as const satisfies Recipe;
  }
  return {
    "decay-rule": "dbb",
    // DingXiaoH/DiverseBranchBlock@8d2b16b, train.py: strong_train_preprocess if 'ResNet' in args.arch.
    aug: arch.includes("ResNet") ? "strong" : "weak",
  } as const satisfies Recipe;
}

/** Settings with the defaults filled in. */
export type Settings = Recipe & Required<Pick<Recipe, keyof typeof DEFAULTS>>;
