/**
 * Everything that decides a training run, resolved: plain JSON data, written to the run directory as
 * `config.json`. How it comes about is in resolve-config.ts. `null`: not asked for.
 */
import type { AugmentOptions } from "../data/augment/options.js";
import type { MixingOptions } from "../data/mixing.js";
import type { ResizeKernel } from "../data/sharp.js";
import type { Device, Precision } from "../engine/types.js";
import type { DecayRule } from "./param-groups.js";
import type { Decline, WarmupForm } from "./schedule.js";

export interface TrainConfig {
  /** An architecture's and a block's name: `ResNet-18`, `DBB`. */
  readonly arch: string;
  readonly block: string;
  /** Default: as many as there are class folders. */
  readonly numClasses: number | null;
  /** Height and width of the images in pixels. */
  readonly imgSize: number;

  /** Folder with train/<class>/ and val/<class>/. */
  readonly data: string;
  /** Images that are prepared at the same time, per process. */
  readonly workers: number;
  /** Images per step on this node, over all its processes; a last, smaller batch is dropped. */
  readonly batchSize: number;
  readonly valBatchSize: number;
  /** Shorter side in pixels before the central imgSize x imgSize pixels are cut out for validation. */
  readonly valResize: number;
  readonly onBadImage: "skip" | "fail";
  /** Accept files whose end is missing. */
  readonly lenient: boolean;
  /** Turn images as their EXIF orientation says. */
  readonly exifOrientation: boolean;
  /** `pil` is exact; the others are sharp's. */
  readonly resize: "pil" | ResizeKernel;
  /** What changes an image besides the random crop and mirroring; what is absent is off. */
  readonly augment: AugmentOptions;
  /** Mixes the images of a batch in pairs. */
  readonly mixing: Required<MixingOptions> | null;

  readonly epochs: number;
  /** Epochs to count as done already. */
  readonly startEpoch: number;
  /** End after so many steps, before the epochs are over. */
  readonly maxSteps: number | null;

  /** Learning rate after the warm-up, for the whole batch: it is not scaled. */
  readonly lr: number;
  readonly schedule: ScheduleConfig;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
  /** Which parameters decay, and which learn faster. */
  readonly decayRule: DecayRule;
  /** RepVGG's custom L2 in place of the decay of the branches' kernels. */
  readonly custwd: boolean;
  /** Share of the target that is spread over all classes. */
  readonly labelSmoothing: number;
  /** Weight of each auxiliary head's loss. */
  readonly auxiliaryWeight: number;
  /** Largest l2 norm of all gradients together. */
  readonly clipNorm: number | null;
  /** Decay of the averaged weights, which are validated and saved beside the others. */
  readonly emaDecay: number | null;

  /** Weights to start from, in any container. */
  readonly pretrained: string | null;
  /** Train the deployed structure with a batch norm after each convolution. */
  readonly insertBn: boolean;

  readonly engine: string;
  /** Default: the engine's best. */
  readonly device: Device | null;
  readonly precision: Precision;
  /** CPU threads of the engine; default: as many as there are cores. */
  readonly threads: number | null;
  readonly deterministic: boolean;
  readonly seed: number;
  /** Null: one process. */
  readonly distributed: DistributedConfig | null;

  /** The run directory. */
  readonly out: string;
  readonly tag: string | null;
  /** Steps from one printed line to the next. */
  readonly printFreq: number;
  /** Null: a checkpoint after each epoch alone. */
  readonly saveEverySteps: number | null;
  /** Older checkpoints to keep beside the last and the best. */
  readonly keep: number;
}

export interface ScheduleConfig {
  readonly decline: Decline;
  readonly warmup: WarmupConfig | null;
}

export interface WarmupConfig {
  readonly form: WarmupForm;
  readonly unit: "epochs" | "iterations";
  /** May be fractional. */
  readonly length: number;
}

export interface DistributedConfig {
  /** Nodes, and which of them this is, from 0; processes, where something else starts them. */
  readonly worldSize: number;
  readonly rank: number;
  /**
   * Where something else starts the processes: how many of them are on this node, and which of those
   * this is. Otherwise 1 and 0.
   */
  readonly localSize: number;
  readonly localRank: number;
  /** Processes to start on this node; null: one for each GPU. */
  readonly nproc: number | null;
  /** `tcp://HOST:PORT` of rank 0; null: a free port of this machine. */
  readonly url: string | null;
  /** Null: nccl on GPUs, gloo on CPUs. */
  readonly backend: "gloo" | "nccl" | null;
  /** The job ends when a process has been silent, or kept the others waiting, for so many seconds. */
  readonly timeoutSeconds: number;
}
