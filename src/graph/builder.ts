/**
 * Builds a graph node by node. A `Scope` is a position in the module tree: it prefixes the names of
 * parameters and nodes, as PyTorch's modules do, and has one method per op. Parameters enter the
 * state dict in the order in which they are declared, so a builder declares them in the reference's
 * registration order, before or after it uses them.
 */
import { GraphError, type Mismatch } from "./errors.js";
import { inferType } from "./infer.js";
import { sameShape } from "./tensor.js";
import type {
  DecayClass,
  Fill,
  Graph,
  GraphOutput,
  Initialiser,
  Node,
  Op,
  OpOf,
  Padding,
  Pair,
  ParamOp,
  ValueType,
} from "./types.js";

/** A value under construction is the node that computes it. */
export type Value = Node;

export interface NodeLabels {
  readonly foldName?: string | undefined;
  readonly rules?: readonly string[] | undefined;
}

export interface BuilderOptions {
  /** Told of every parameter as it is declared, in state-dict order. To throw is to stop building. */
  readonly onParameter?: ((parameter: ParamOp) => void) | undefined;
}

/** Collects nodes; every node is checked as it is added. */
export class GraphBuilder {
  readonly #nodes: Node[] = [];
  readonly #parameterNames = new Set<string>();
  readonly #onParameter: BuilderOptions["onParameter"];

  constructor(options: BuilderOptions = {}) {
    this.#onParameter = options.onParameter;
  }

  /** The root scope, whose names have no prefix. */
  root(): Scope {
    return new Scope(this, "");
  }

  /** Appends a node. Throws GraphError, naming the node, where the op does not accept its inputs. */
  add(op: Op, inputs: readonly Value[], name: string, labels: NodeLabels = {}): Value {
    for (const input of inputs) this.#expectOwn(input, { node: name, op: op.kind, what: "inputs" });
    if (op.kind === "param") this.#claim(op.name);
    const type = this.#infer(op, inputs, name);
    const node: Node = {
      id: this.#nodes.length,
      op,
      inputs: inputs.map((input) => input.id),
      type,
      name,
      ...(labels.foldName === undefined ? {} : { foldName: labels.foldName }),
      ...(labels.rules === undefined ? {} : { rules: labels.rules }),
    };
    this.#nodes.push(node);
    if (op.kind === "param") this.#onParameter?.(op);
    return node;
  }

  /** The values that `value` is computed from, in the order of its op. */
  inputsOf(value: Value): readonly Value[] {
    this.#expectOwn(value, { node: value.name, op: value.op.kind, what: "value" });
    return value.inputs.map((id) => this.#nodes[id]!);
  }

  /** Says that `value` is what a convolution of the given name may replace. Returns the labelled value. */
  labelFold(value: Value, foldName: string): Value {
    this.#expectOwn(value, { node: foldName, op: value.op.kind, what: "value" });
    const labelled = { ...value, foldName };
    this.#nodes[value.id] = labelled;
    return labelled;
  }

  /** The finished graph, with its outputs by name in order. */
  build(outputs: Readonly<Record<string, Value>>): Graph {
    const named: GraphOutput[] = Object.entries(outputs).map(([name, value]) => {
      this.#expectOwn(value, { node: name, op: "graph", what: "outputs" });
      return { name, value: value.id };
    });
    return { nodes: [...this.#nodes], outputs: named };
  }

  #expectOwn(value: Value, where: Pick<Mismatch, "node" | "op" | "what">): void {
    if (this.#nodes[value.id]?.op === value.op) return;
    const found = `"${value.name}" of another`;
    throw new GraphError({ ...where, expected: "values of this graph", found });
  }

  #claim(name: string): void {
    if (this.#parameterNames.has(name)) {
      throw new GraphError({
        node: name,
        op: "param",
        what: "name",
        expected: "one parameter of each name",
        found: `a second "${name}"`,
      });
    }
    this.#parameterNames.add(name);
  }

  #infer(op: Op, inputs: readonly Value[], name: string): ValueType {
    try {
      return inferType(
        op,
        inputs.map((input) => input.type),
      );
    } catch (error) {
      throw error instanceof GraphError ? error.at(name) : error;
    }
  }
}

export interface ParameterOptions {
  readonly init: Initialiser;
  readonly decay: DecayClass;
}

/** A position in the module tree of the graph being built. */
export class Scope {
  readonly builder: GraphBuilder;
  /** `stage1.0.conv1`; empty at the root. */
  readonly path: string;

  constructor(builder: GraphBuilder, path: string) {
    this.builder = builder;
    this.path = path;
  }

  child(name: string): Scope {
    return new Scope(this.builder, this.join(name));
  }

  /** The full name of something in this scope. */
  join(name: string): string {
    return this.path === "" ? name : `${this.path}.${name}`;
  }

  // --- Sources

  /** The image batch; without mean and std, values are taken as they are. */
  input(
    shape: readonly [number, number, number],
    normalisation?: { mean: readonly number[]; std: readonly number[] },
  ): Value {
    const mean = normalisation?.mean ?? shape.slice(0, 1).flatMap((n) => Array<number>(n).fill(0));
    const std = normalisation?.std ?? shape.slice(0, 1).flatMap((n) => Array<number>(n).fill(1));
    return this.#add({ kind: "input", shape, mean, std }, [], "input");
  }

  /** A trained parameter. */
  param(name: string, shape: readonly number[], options: ParameterOptions): Value {
    return this.#state(name, shape, "param", "f32", options.init, options.decay);
  }

  /** A float32 entry of the state that is not trained. */
  buffer(name: string, shape: readonly number[], init: Initialiser): Value {
    return this.#state(name, shape, "buffer", "f32", init, "none");
  }

  /** A 64-bit integer scalar that counts training steps (`num_batches_tracked`). */
  counter(name: string): Value {
    return this.#state(name, [], "buffer", "i64", { kind: "constant", value: 0 }, "none");
  }

  constant(shape: readonly number[], fill: Fill, name = "constant"): Value {
    return this.#add({ kind: "constant", shape, fill }, [], name);
  }

  // --- Activations

  conv2d(
    x: Value,
    kernel: Value,
    bias: Value | undefined,
    options: {
      stride?: number | Pair | undefined;
      padding?: number | Pair | Padding | undefined;
      dilation?: number | Pair | undefined;
      groups?: number | undefined;
    } = {},
    name = "conv",
  ): Value {
    const op: Op = {
      kind: "conv2d",
      stride: toPair(options.stride ?? 1),
      padding: toPadding(options.padding ?? 0),
      dilation: toPair(options.dilation ?? 1),
      groups: options.groups ?? 1,
    };
    return this.#add(op, bias === undefined ? [x, kernel] : [x, kernel, bias], name);
  }

  batchNorm(
    x: Value,
    weights: {
      gamma: Value;
      beta: Value;
      mean: Value;
      variance: Value;
      counter?: Value | undefined;
    },
    options: { eps?: number; momentum?: number; pad?: number | Pair | Padding } = {},
    name = "bn",
  ): Value {
    const op: Op = {
      kind: "batchNorm",
      eps: options.eps ?? 1e-5,
      momentum: options.momentum ?? 0.1,
      pad: toPadding(options.pad ?? 0),
    };
    const { gamma, beta, mean, variance, counter } = weights;
    const inputs = [x, gamma, beta, mean, variance];
    return this.#add(op, counter === undefined ? inputs : [...inputs, counter], name);
  }

  relu(x: Value, name = "relu"): Value {
    return this.#add({ kind: "relu" }, [x], name);
  }

  silu(x: Value, name = "silu"): Value {
    return this.#add({ kind: "silu" }, [x], name);
  }

  sigmoid(x: Value, name = "sigmoid"): Value {
    return this.#add({ kind: "sigmoid" }, [x], name);
  }

  maxPool(x: Value, window: Window, name = "maxpool"): Value {
    return this.#add({ kind: "maxPool", ...toWindow(window) }, [x], name);
  }

  avgPool(x: Value, window: Window & { countIncludePad?: boolean }, name = "avg"): Value {
    const countIncludePad = window.countIncludePad ?? true;
    return this.#add({ kind: "avgPool", ...toWindow(window), countIncludePad }, [x], name);
  }

  globalAvgPool(x: Value, name = "gap"): Value {
    return this.#add({ kind: "globalAvgPool" }, [x], name);
  }

  flatten(x: Value, name = "flatten"): Value {
    return this.#add({ kind: "flatten" }, [x], name);
  }

  linear(x: Value, weight: Value, bias: Value | undefined, name = "linear"): Value {
    return this.#add(
      { kind: "linear" },
      bias === undefined ? [x, weight] : [x, weight, bias],
      name,
    );
  }

  // --- Either world

  /** The sum of one or more values; of one, that value. */
  add(values: readonly Value[], name = "add"): Value {
    const [only] = values;
    return values.length === 1 && only !== undefined
      ? only
      : this.#add({ kind: "add" }, values, name);
  }

  mul(a: Value, b: Value, name = "mul"): Value {
    return this.#add({ kind: "mul" }, [a, b], name);
  }

  /** One or more values joined along the first axis; of one, that value. */
  concat(values: readonly Value[], name = "concat"): Value {
    const [only] = values;
    return values.length === 1 && only !== undefined
      ? only
      : this.#add({ kind: "concat" }, values, name);
  }

  // --- Weights

  sub(a: Value, b: Value, name = "sub"): Value {
    return this.#add({ kind: "sub" }, [a, b], name);
  }

  inverseStd(variance: Value, eps: number, name = "inverseStd"): Value {
    return this.#add({ kind: "inverseStd", eps }, [variance], name);
  }

  scale(weight: Value, perOutput: Value, name = "scale"): Value {
    return this.#add({ kind: "scale" }, [weight, perOutput], name);
  }

  einsum(equation: string, operands: readonly Value[], name = "einsum"): Value {
    return this.#add({ kind: "einsum", equation }, operands, name);
  }

  embed(
    kernel: Value,
    options: {
      kernel: Pair;
      offset: Pair;
      dilation?: Pair;
      groups?: { from: number; to: number };
    },
    name = "embed",
  ): Value {
    const op: OpOf<"embed"> = {
      kind: "embed",
      kernel: options.kernel,
      offset: options.offset,
      dilation: options.dilation ?? [1, 1],
      groups: options.groups ?? { from: 1, to: 1 },
    };
    return this.#add(op, [kernel], name);
  }

  composeKernels(
    first: Value,
    second: Value,
    options: { groups?: number; correlate?: boolean } = {},
    name = "compose",
  ): Value {
    const { groups = 1, correlate = false } = options;
    return this.#add({ kind: "composeKernels", groups, correlate }, [first, second], name);
  }

  reshape(weight: Value, shape: readonly number[], name = "reshape"): Value {
    return sameShape(weight.type.shape, shape)
      ? weight
      : this.#add({ kind: "reshape", shape }, [weight], name);
  }

  /** Row `index` of a weight, without its first axis. */
  select(weight: Value, index: number, name = "select"): Value {
    return this.#add({ kind: "select", index }, [weight], name);
  }

  /** The same weight, as a constant to whoever differentiates. */
  detach(weight: Value, name = "detach"): Value {
    return this.#add({ kind: "detach" }, [weight], name);
  }

  #add(op: Op, inputs: readonly Value[], name: string): Value {
    return this.builder.add(op, inputs, this.join(name));
  }

  #state(
    name: string,
    shape: readonly number[],
    role: "param" | "buffer",
    dtype: "f32" | "i64",
    init: Initialiser,
    decay: DecayClass,
  ): Value {
    const full = this.join(name);
    return this.builder.add(
      { kind: "param", name: full, shape, role, dtype, init, decay },
      [],
      full,
    );
  }
}

export interface Window {
  readonly kernel: number | Pair;
  readonly stride?: number | Pair;
  readonly padding?: number | Pair | Padding;
}

function toWindow(window: Window): { kernel: Pair; stride: Pair; padding: Padding } {
  return {
    kernel: toPair(window.kernel),
    stride: toPair(window.stride ?? window.kernel),
    padding: toPadding(window.padding ?? 0),
  };
}

function toPair(value: number | Pair): Pair {
  return typeof value === "number" ? [value, value] : value;
}

/** One number for all sides, [vertical, horizontal], or all four sides. */
export function toPadding(value: number | Pair | Padding): Padding {
  if (typeof value === "number") return [value, value, value, value];
  if (value.length === 4) return value;
  const [vertical, horizontal] = value;
  return [vertical, vertical, horizontal, horizontal];
}
