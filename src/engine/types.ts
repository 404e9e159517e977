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
  /**
   * Joins the other processes of a training job; resolves when all are there. Missing where the engine
   * cannot. Throws RepkitErrors: `usage` where the processes disagree on their number or ranks,
   * `environment` for what is not there in time (ranks are named) or that the library was built without.
   */
  connect?(options: ProcessGroupOptions): Promise<ProcessGroup>;
}

export type Backend = "gloo" | "nccl";

export interface ProcessGroupOptions {
  /** `tcp://HOST:PORT`, where rank 0 listens and the others find it; an IPv6 address in brackets. */
  readonly url: string;
  /** From 0. */
  readonly rank: number;
  readonly worldSize: number;
  /** What adds up gradients. Default: `gloo`; `nccl` needs executables on CUDA devices. */
  readonly backend?: Backend;
  /** For the others to come. */
  readonly timeoutSeconds: number;
  /** For the others to do their part of a sum, a broadcast, a barrier or a step. Default: `timeoutSeconds`. */
  readonly collectiveTimeoutSeconds?: number;
  /** Network interface. Default: `$GLOO_SOCKET_IFNAME`, else the one that reaches `url`. */
  readonly interface?: string;
}

/**
 * The processes of a job. Collectives run in the order of the calls, which must be the same in all
 * processes; they do not disturb the steps of executables, which have connections of their own. Where
 * another process ends or is late, they reject with `environment` errors, as do all later ones.
 */
export interface ProcessGroup {
  readonly rank: number;
  readonly worldSize: number;
  readonly backend: Backend;
  /** Replaces the numbers by their sums over the processes, bit for bit the same in all. */
  allReduce(values: Float64Array): Promise<Float64Array>;
  /** Replaces the bytes, as many in every process, by those of `root`. */
  broadcast(bytes: Uint8Array, root?: number): Promise<Uint8Array>;
  /** Resolves once all processes have called it. */
  barrier(): Promise<void>;
  /** Works beside collectives, and while one hangs. */
  readonly store: ProcessStore;
  statistics(): CommunicationStatistics;
  /**
   * Ends what is under way, with `environment` errors. Executables that use the group train no more. Where
   * rank 0 closes, the store goes.
   */
  close(): Promise<void>;
}

/** Texts that all processes see, kept by rank 0's. Rejects with `environment` errors where that is gone. */
export interface ProcessStore {
  set(key: string, value: string): Promise<void>;
  /** Undefined where nobody has set it; does not wait. */
  get(key: string): Promise<string | undefined>;
  /** Adds to a counter, which begins at 0, and returns what it comes to. */
  add(key: string, amount: number): Promise<number>;
}

/** Of the gradients of all steps so far. */
export interface CommunicationStatistics {
  readonly steps: number;
  readonly buckets: number;
  /** Of gradients that were averaged; a ring sends 2 (W - 1) / W times as many from each of W processes. */
  readonly bytes: number;
  /** While at least one bucket was under way. */
  readonly communicationSeconds: number;
  /** Of these, those that steps waited for at their end; the others were hidden by computing. */
  readonly waitedSeconds: number;
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
  /**
   * Trains together with the executables that the other processes load, all at the same time and in the
   * same order. They begin with rank 0's state, and update with the mean of the processes' gradients, which
   * come together while backward still runs; what is accumulated (`update: false`) comes with the update.
   * Where one process's loss is not finite, or its step fails, all fail before the update. Statistics of
   * batch norms stay each process's own. `evaluate`, `state` and `restore` know nothing of the others.
   */
  readonly group?: ProcessGroup;
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
