/** What an engine is: something that runs graphs. Names, shapes and units only; no engine's code. */
import type { Graph, Images, ParamOp, State, StateSource, Tensor } from "../graph/index.js";

export type Device = "cpu" | "cuda" | `cuda:${number}`;

/**
 * `fp32`; `tf32` (CUDA: products of 10-bit mantissas); `bf16` (convolutions and activations in
 * bfloat16; parameters, statistics, loss and updates stay float32); `fp64` (for verification: it
 * separates a wrong formula from rounding).
 */
export type Precision = "fp32" | "tf32" | "bf16" | "fp64";

export interface Engine {
  /** `torch`, `tfjs:wasm`, ... */
  readonly name: string;
  /** One line: version, device, library. */
  readonly description: string;
  /** Where it can run graphs; `cpu` first. */
  readonly devices: readonly Device[];
  /**
   * Prepares a graph for running. `state` holds a tensor for each parameter and is copied. Throws
   * RepkitErrors: `usage` for a missing or misshapen tensor or an option that the engine does not
   * have, `environment` for a device that is not there.
   */
  load(graph: Graph, state: StateSource, options?: LoadOptions): Promise<Executable>;
}

export interface LoadOptions {
  /** Default: `cpu`. */
  readonly device?: Device;
  /** Default: `fp32`. */
  readonly precision?: Precision;
  /** CPU threads; default: as many as there are cores. */
  readonly threads?: number;
  /** Same inputs, same bits, run after run. CPUs always are; on CUDA it costs speed. */
  readonly deterministic?: boolean;
  /** Fail a step whose loss is not finite, before it changes a parameter. */
  readonly checkFinite?: boolean;
  /** Needed by `trainStep` alone. */
  readonly training?: TrainingOptions;
}

/**
 * SGD as PyTorch defines it: g += decay*p; v = momentum*v + g (v starts as the first g);
 * p -= lr*v, or lr*(g + momentum*v) with Nesterov.
 */
export interface TrainingOptions {
  /** Default: 0.9. */
  readonly momentum?: number;
  readonly nesterov?: boolean;
  /** Learning-rate multiplier and weight decay of each parameter; default: 1 and 0. */
  readonly settings?: (parameter: ParamOp) => ParameterSettings;
  /** Share of the target that is spread evenly over all classes. Default: 0. */
  readonly labelSmoothing?: number;
  /** Weight of each auxiliary head's loss (every activation output but the first). Default: 0.1, RepVGGplus's. */
  readonly auxiliaryWeight?: number;
  /** Weight of the graph's scalar weight outputs (RepVGG's custom L2) in the loss. Default: 0. */
  readonly penaltyWeight?: number;
  /** Scale gradients down to this l2 norm over all parameters. */
  readonly clipNorm?: number;
  /** Keep an average of the state, ema = decay*ema + (1 - decay)*p after each update; buffers likewise. */
  readonly emaDecay?: number;
}

export interface ParameterSettings {
  readonly lrMultiplier?: number;
  readonly weightDecay?: number;
}

/** A class index per image, or a target distribution per image [N, classes] (mixup, cutmix). */
export type Labels = Int32Array | Tensor;

/** Images of N x H x W x C bytes, normalised by the graph, or of N x C x H x W numbers, which are not. */
export interface Batch {
  readonly images: Images;
  readonly labels: Labels;
}

export interface StepOptions {
  readonly learningRate: number;
  /** False: add this batch's gradient to the next update's instead of updating now. Default: true. */
  readonly update?: boolean;
  /** Factor on this batch's gradient: 1/n in each of n accumulated batches. Default: 1. */
  readonly gradientScale?: number;
}

/** What comes back from a batch with labels. */
export interface BatchResult {
  /** Mean cross-entropy over the batch; of a training step with label smoothing, auxiliary heads and penalties. */
  readonly loss: number;
  /** Images whose label is the highest logit / among the five highest. */
  readonly top1: number;
  readonly top5: number;
}

export interface InferOptions {
  /** Ids of nodes whose values are wanted too. */
  readonly values?: readonly number[];
}

export interface Inference {
  /** By output name; activations have the batch as their first axis, N x C x H x W or N x C. */
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** By node id, as asked for. */
  readonly values: ReadonlyMap<number, Tensor>;
}

/** What the gradient is of: the loss on labels, or sum(output * outputGradient) of the first output. */
export type Objective =
  | { readonly labels: Labels }
  | { readonly outputGradient: Tensor }
  /** The scalar weight output of this name. */
  | { readonly output: string };

export interface Differentiation {
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** The objective's value, where it is a loss or a scalar output. */
  readonly loss: number | undefined;
  /** By parameter name; those that the objective does not depend on are missing. */
  readonly gradients: ReadonlyMap<string, Tensor>;
  /** Of images given as numbers; undefined for bytes. */
  readonly imageGradient: Tensor | undefined;
  /** Running statistics and counters after this forward pass; the executable's own stay as they were. */
  readonly updates: State;
}

export interface ExecutableState {
  /** Parameters and buffers in state-dict order. */
  readonly state: State;
  /** SGD's velocity by parameter name; empty before the first update. */
  readonly momentum: State;
  /** The averaged state where `emaDecay` was given. */
  readonly ema: State | undefined;
}

/**
 * A loaded graph. Every call is asynchronous, leaves the event loop free, and waits for the calls
 * before it. A failing call rejects with a RepkitError and leaves the executable usable.
 */
export interface Executable {
  /** Evaluation mode: running statistics. */
  infer(images: Images, options?: InferOptions): Promise<Inference>;
  /** Evaluation mode with labels: cross-entropy of the first output, and counts; no logits cross over. */
  evaluate(batch: Batch): Promise<BatchResult>;
  /** One step of SGD in training mode. */
  trainStep(batch: Batch, options: StepOptions): Promise<BatchResult>;
  /** Training mode: outputs and gradients of one batch, changing nothing. */
  differentiate(images: Images | undefined, objective: Objective): Promise<Differentiation>;
  /** A copy of everything that training has made. */
  state(): Promise<ExecutableState>;
  /** Replaces values by name: all of the state, or optimizer slots when resuming. */
  restore(values: Partial<{ [K in keyof ExecutableState]: StateSource }>): Promise<void>;
  /** Frees what it holds; later calls reject. */
  dispose(): Promise<void>;
}
