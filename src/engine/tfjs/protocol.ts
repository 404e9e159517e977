/** What the engine's thread is asked, and what it answers. */
import { types } from "node:util";

import type { ErrorKind } from "../../errors.js";
import type { Images, State, Tensor } from "../../graph/index.js";
import type {
  Batch,
  BatchResult,
  Device,
  Differentiation,
  ExecutableState,
  Inference,
  Labels,
  Objective,
  StepOptions,
} from "../types.js";
import type { BackendName } from "./backend.js";
import type { SessionOptions } from "./session.js";

/** The thread is started with. */
export interface Start {
  readonly backend: BackendName;
}

/** By executable, which the engine numbers; `load` begins one. */
export interface Calls {
  load(graph: string, state: State, options: SessionOptions): void;
  infer(images: Images, values: readonly number[]): Inference;
  evaluate(batch: Batch): BatchResult;
  trainStep(batch: Batch, options: Required<StepOptions>): BatchResult;
  differentiate(images: Images | undefined, objective: Objective): Differentiation;
  state(): ExecutableState;
  restore(values: Partial<Record<keyof ExecutableState, State>>): void;
  dispose(): void;
  memory(): Memory;
}

/** What TensorFlow.js holds for all executables of an engine. */
export interface Memory {
  readonly tensors: number;
  readonly bytes: number;
}

export type CallName = keyof Calls;

export type Request = {
  [K in CallName]: {
    readonly id: number;
    readonly executable: number;
    readonly call: K;
    readonly args: Parameters<Calls[K]>;
  };
}[CallName];

/** Once, before all answers. */
export interface Ready {
  readonly version: string;
  readonly description: string;
  readonly devices: readonly Device[];
}

export interface Failure {
  readonly kind: ErrorKind;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export type Answer =
  | { readonly ready: Ready }
  | { readonly startFailed: Failure }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly failed: Failure };

/** A tensor of its own memory, which may be given away. */
export function copied<T extends Tensor>({ shape, data }: T): T {
  return { shape, data: data.slice() } as T;
}

/** Shared memory is looked at where it is; everything else is copied. */
export function sendableImages(images: Images): Images {
  const { shape, data } = images;
  if (types.isSharedArrayBuffer(data.buffer)) return images;
  return { shape, data: data.slice() } as Images;
}

export function sendableLabels(labels: Labels): Labels {
  return types.isInt32Array(labels) ? labels.slice() : copied(labels);
}

/** The memory that a message may take with it instead of leaving a copy. */
export function buffersOf(value: unknown, found = new Set<ArrayBuffer>()): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) {
    if (!types.isSharedArrayBuffer(value.buffer)) found.add(value.buffer);
  } else if (types.isMap(value)) {
    for (const one of value.values()) buffersOf(one, found);
  } else if (typeof value === "object" && value !== null) {
    for (const one of Object.values(value)) buffersOf(one, found);
  }
  return [...found];
}
