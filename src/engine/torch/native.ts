/** The compiled addon's interface (native/torch/addon.cc). Slots are node ids of the lowered graph. */
import type { Tensor } from "../../graph/index.js";
import type { BatchResult } from "../types.js";
import type { Plan } from "./lower.js";

export interface NativeTensor {
  readonly shape: readonly number[];
  readonly data: Uint8Array | Int32Array | Tensor["data"];
}

export type NamedTensors = readonly (readonly [name: string, tensor: Tensor])[];

export interface NativeParameter extends NativeTensor {
  readonly name: string;
  readonly trainable: boolean;
  readonly lrMultiplier: number;
  readonly weightDecay: number;
}

export interface NativeOptions {
  readonly device: string;
  readonly precision: string;
  readonly threads: number;
  readonly deterministic: boolean;
  readonly checkFinite: boolean;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly labelSmoothing: number;
  readonly auxiliaryWeight: number;
  readonly penaltyWeight: number;
  readonly clipNorm: number | undefined;
  readonly emaDecay: number | undefined;
}

export interface NativeObjective {
  readonly labels?: NativeTensor;
  readonly outputGradient?: NativeTensor;
  readonly output?: string;
}

/** One op of ATen: how often it ran, and for how long without the ops that it called. */
export interface ProfileRow {
  readonly name: string;
  readonly calls: number;
  readonly seconds: number;
}

/** A thread with a loaded graph. Promises reject with `{message, kind}`, kinds as in src/errors.ts. */
export interface NativeExecutable {
  load(parameters: readonly NativeParameter[], options: NativeOptions): Promise<void>;
  addPlan(index: number, plan: Plan): Promise<void>;
  infer(
    plan: number,
    images: NativeTensor,
    slots: readonly number[],
  ): Promise<{
    readonly outputs: NamedTensors;
    readonly values: readonly (readonly [slot: number, tensor: Tensor])[];
  }>;
  evaluate(plan: number, images: NativeTensor, labels: NativeTensor): Promise<BatchResult>;
  trainStep(
    plan: number,
    images: NativeTensor,
    labels: NativeTensor,
    learningRate: number,
    update: boolean,
    gradientScale: number,
  ): Promise<BatchResult>;
  differentiate(
    plan: number,
    images: NativeTensor | undefined,
    objective: NativeObjective,
  ): Promise<{
    readonly outputs: NamedTensors;
    readonly loss?: number;
    readonly gradients: NamedTensors;
    readonly updates: NamedTensors;
    readonly imageGradient?: Tensor;
  }>;
  /** A training step at learning rate 0, or an evaluation, timed op by op; longest first. */
  profile(
    plan: number,
    images: NativeTensor,
    labels: NativeTensor,
    training: boolean,
  ): Promise<readonly ProfileRow[]>;
  state(): Promise<{
    readonly state: NamedTensors;
    readonly momentum: NamedTensors;
    readonly ema: NamedTensors;
  }>;
  restore(
    state: NamedTensors | undefined,
    momentum: NamedTensors | undefined,
    ema: NamedTensors | undefined,
  ): Promise<void>;
  dispose(): Promise<void>;
}

export interface NativeAddon {
  readonly Executable: new () => NativeExecutable;
  describe(): {
    readonly version: string;
    readonly cudaDevices: number;
    readonly threads: number;
    /** ATen's account of how it was built. */
    readonly build: string;
  };
  /** Bytes of large CPU tensors: held, and kept for the next step. */
  memory(): { readonly inUse: number; readonly cached: number };
  /** Ends all threads, each after what it is at; for when the process ends. */
  stopAll(): void;
}
