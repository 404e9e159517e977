/** The compiled addon's interface (native/torch/addon.cc). Slots are node ids of the lowered graph. */
import type { Tensor } from "../../graph/index.js";
import type { BatchResult, CommunicationStatistics } from "../types.js";
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
  load(
    parameters: readonly NativeParameter[],
    options: NativeOptions,
    group: NativeProcessGroup | undefined,
  ): Promise<void>;
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

export interface NativeGroupOptions {
  readonly host: string;
  readonly port: number;
  readonly rank: number;
  readonly worldSize: number;
  readonly backend: string;
  readonly timeoutSeconds: number;
  readonly collectiveTimeoutSeconds: number;
  readonly interface: string | undefined;
}

/** Two threads, one for collectives and one for the store. Neither is waited for when the process ends. */
export interface NativeProcessGroup {
  connect(options: NativeGroupOptions): Promise<void>;
  /** The given array stays as it is. */
  allReduce(values: Float64Array): Promise<Float64Array>;
  broadcast(bytes: Uint8Array, root: number): Promise<Uint8Array>;
  barrier(): Promise<void>;
  set(key: string, value: string): Promise<void>;
  get(key: string): Promise<string | undefined>;
  add(key: string, amount: number): Promise<number>;
  statistics(): CommunicationStatistics;
  close(): Promise<void>;
}

export interface NativeAddon {
  readonly Executable: new () => NativeExecutable;
  readonly ProcessGroup: new () => NativeProcessGroup;
  describe(): {
    readonly version: string;
    readonly cudaDevices: number;
    readonly threads: number;
    /** ATen's account of how it was built. */
    readonly build: string;
  };
  /** Bytes of large CPU tensors: held, and kept for the next step. */
  memory(): { readonly inUse: number; readonly cached: number };
  /** Ends all threads, each after what it is at, without waiting for other processes; for when this one ends. */
  stopAll(): void;
}
