/**
 * What a graph is made of. A model is data: nodes in SSA form, one value each, in an order in which
 * every input precedes its use. Two worlds share one graph:
 *
 * - *activations*, shape without the batch: [C, H, W], or [C] after `flatten`;
 * - *weights*: parameters, constants, and expressions over them, shape as in PyTorch (kernels O,I,H,W).
 *
 * Parameters are nodes too. Their order among the nodes is the state-dict order.
 */

export interface ValueType {
  readonly world: "activation" | "weight";
  readonly shape: readonly number[];
}

/** [vertical, horizontal] */
export type Pair = readonly [number, number];

/** [top, bottom, left, right], in pixels. A negative side crops, as `F.pad` does in PyTorch. */
export type Padding = readonly [number, number, number, number];

/** Values that need no random numbers; what constants and fixed buffers are made of. */
export type Fill =
  | { readonly kind: "constant"; readonly value: number }
  /** One value per index of the first axis (OREPA's `vector`). */
  | { readonly kind: "rows"; readonly values: readonly number[] }
  /** Kernel [O, I, H, W] with `w[o, o mod I, H>>1, W>>1] = 1`: passes every channel of its group through. */
  | { readonly kind: "identity" }
  /** OREPA's frequency prior [O, K, K]: a cosine down the rows for the first O/2 channels, along them for the rest. */
  | { readonly kind: "frequencyPrior" };

/** How a parameter starts. `fan_in` is the product of all extents but the first. */
export type Initialiser =
  | Fill
  /** Uniform in ±sqrt(6 / ((1 + a²) fan_in)); PyTorch's own layers use a = sqrt(5). */
  | { readonly kind: "kaimingUniform"; readonly a: number }
  /** Uniform in ±bound (biases of convolutions and linear layers: bound = 1/sqrt(fan_in of the weight)). */
  | { readonly kind: "uniform"; readonly bound: number };

/** What weight-decay rules ask about a parameter. */
export type DecayClass = "kernel" | "bias" | "norm" | "branchScale" | "none";

/** One entry of a state dict. */
export interface ParamOp {
  readonly kind: "param";
  /** Full state-dict name, exactly the PyTorch reference's. */
  readonly name: string;
  readonly shape: readonly number[];
  /** A `param` is trained; a `buffer` is not (running statistics, OREPA's constants). */
  readonly role: "param" | "buffer";
  readonly dtype: "f32" | "i64";
  readonly init: Initialiser;
  readonly decay: DecayClass;
}

/** An op: its kind and attributes. Inputs are listed with each kind; `?` marks an optional last input. */
export type Op =
  // --- Sources
  /** () → image batch. uint8 N,H,W,C is normalised with mean and std per channel, in units of 255. */
  | {
      readonly kind: "input";
      readonly shape: readonly number[];
      readonly mean: readonly number[];
      readonly std: readonly number[];
    }
  | ParamOp
  /** () → a weight that is part of the model's definition, not of its state. */
  | { readonly kind: "constant"; readonly shape: readonly number[]; readonly fill: Fill }
  // --- Activations
  /** (x [I,H,W], weight [O,I/groups,h,w], bias [O]?) → [O,H',W']; cross-correlation, zero padding. */
  | {
      readonly kind: "conv2d";
      readonly stride: Pair;
      readonly padding: Padding;
      readonly dilation: Pair;
      readonly groups: number;
    }
  /**
   * (x [C,H,W], gamma, beta, runningMean, runningVar [C], counter []?) → [C,H+,W+]. The border of
   * `pad` pixels holds BN(0) of the *running* statistics, without gradient (DBB's BNAndPad):
   * 1234 with pad 1 → p1234p, p = beta - mean*gamma/sqrt(var + eps).
   */
  | {
      readonly kind: "batchNorm";
      readonly eps: number;
      readonly momentum: number;
      readonly pad: Padding;
    }
  | { readonly kind: "relu" | "silu" | "sigmoid" }
  /** (x [C,H,W]) → [C,H',W'] */
  | {
      readonly kind: "maxPool";
      readonly kernel: Pair;
      readonly stride: Pair;
      readonly padding: Padding;
    }
  /** (x [C,H,W]) → [C,H',W']; with countIncludePad the divisor is always the window's area. */
  | {
      readonly kind: "avgPool";
      readonly kernel: Pair;
      readonly stride: Pair;
      readonly padding: Padding;
      readonly countIncludePad: boolean;
    }
  /** (x [C,H,W]) → [C,1,1] */
  | { readonly kind: "globalAvgPool" }
  /** (x [C,H,W]) → [C*H*W] */
  | { readonly kind: "flatten" }
  /** (x [I], weight [O,I], bias [O]?) → [O] */
  | { readonly kind: "linear" }
  // --- Either world
  /** (a, b, ...) of equal shapes → their sum. */
  | { readonly kind: "add" }
  /** (a, b) → elementwise product; of activations, b may be [C,1,1] (squeeze-and-excitation's gate). */
  | { readonly kind: "mul" }
  /** (a, b, ...) → joined along the channels (activations) or the first axis (weights). */
  | { readonly kind: "concat" }
  // --- Weights
  /** (a, b) of equal shapes → a - b. */
  | { readonly kind: "sub" }
  /** (x) → 1/sqrt(x + eps). */
  | { readonly kind: "inverseStd"; readonly eps: number }
  /** (w [O,...], s [O]) → w[o,...] * s[o]. */
  | { readonly kind: "scale" }
  /** (a) or (a, b) → a sum of products in Einstein's notation, e.g. `ti,othw->oihw`. No repeated index within one term. */
  | { readonly kind: "einsum"; readonly equation: string }
  /**
   * (w [O,I,h,w]) → a kernel of `kernel` extents over fewer groups, zero elsewhere; element (u, v)
   * goes to (offset + dilation * (u, v)). 3 into 5, offset 1: abc → 0abc0; dilation 2: abc → a0b0c.
   */
  | {
      readonly kind: "embed";
      readonly kernel: Pair;
      readonly offset: Pair;
      readonly dilation: Pair;
      readonly groups: { readonly from: number; readonly to: number };
    }
  /**
   * (first [T,I/g,h,w], second [O,T/g,H,W]) → [O,I/g,h+H-1,w+W-1], the kernel of `second` after
   * `first`. `correlate` slides `second` unflipped over `first`, as the reference's OREPA_LargeConv
   * does: not the composition of the two layers, but a valid parameterization.
   */
  | { readonly kind: "composeKernels"; readonly groups: number; readonly correlate: boolean }
  | { readonly kind: "reshape"; readonly shape: readonly number[] }
  /** (w [N,...]) → row `index`, without that axis. */
  | { readonly kind: "select"; readonly index: number }
  /** (w) → w, for which no gradient flows back. */
  | { readonly kind: "detach" };

export type OpKind = Op["kind"];
export type OpOf<K extends OpKind> = Extract<Op, { kind: K }>;

/** A node and the one value that it computes. `id` is its position in the graph. */
export interface Node {
  readonly id: number;
  readonly op: Op;
  readonly inputs: readonly number[];
  readonly type: ValueType;
  /** Where it stands in the model, for people: `stage1.0.conv1.dbb_1x1.conv`. */
  readonly name: string;
  /** On the output of a block's linear branches: the name of the convolution that may replace them. */
  readonly foldName?: string;
  /** The rewrite rules that made this node, in the order of application. */
  readonly rules?: readonly string[];
}

export interface GraphOutput {
  readonly name: string;
  readonly value: number;
}

export interface Graph {
  readonly nodes: readonly Node[];
  readonly outputs: readonly GraphOutput[];
}
