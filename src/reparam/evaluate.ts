/**
 * Evaluates weight expressions in float64: the numbers behind the kernel algebra. Sums are
 * accumulated in place and per-channel factors carried down to the terms, so that a folded kernel
 * costs about one pass over memory per branch and no copy of any parameter.
 */
import { RepkitError } from "../errors.js";
import {
  constantTensor,
  elementCount,
  type Float64Tensor,
  type Graph,
  interpret,
  type Node,
  type OpOf,
  type StateSource,
  type Tensor,
  toFloat64,
} from "../graph/index.js";
import { lines, multiplyAdd } from "../util/gemm.js";

type Numbers = Tensor<Float64Array> | Tensor<Float32Array>;

/** The value of weight node `id`, from the parameters it depends on; nothing else is read. */
export function evaluateWeight(graph: Graph, id: number, state: StateSource): Float64Tensor {
  return toFloat64(new Evaluation(graph, state).value(id));
}

/** The same, rounded once to float32. */
export function evaluateRounded(
  graph: Graph,
  id: number,
  state: StateSource,
): Tensor<Float32Array> {
  const shape = graph.nodes[id]?.type.shape ?? [];
  // Fresh memory costs more than the arithmetic on it, so the float64 sums of one weight after the
  // other share theirs.
  const count = elementCount(shape);
  if (scratch.length < count) scratch = new Float64Array(count);
  const sums = scratch.subarray(0, count).fill(0);
  new Evaluation(graph, state).accumulate(id, sums);
  return { shape, data: Float32Array.from(sums) };
}

let scratch = new Float64Array(0);

class Evaluation {
  readonly #graph: Graph;
  readonly #state: StateSource;
  readonly #known = new Map<number, Numbers>();

  constructor(graph: Graph, state: StateSource) {
    this.#graph = graph;
    this.#state = state;
  }

  /** The value of a node, computed once. */
  value(id: number): Numbers {
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    const value = this.#compute(this.#node(id));
    this.#known.set(id, value);
    return value;
  }

  #compute(node: Node): Numbers {
    const { op } = node;
    if (op.kind === "param") return stored(this.#state, op);
    if (op.kind === "constant") return constantTensor(op.shape, op.fill);
    if (op.kind === "reshape") return { ...this.value(node.inputs[0] ?? -1), shape: op.shape };
    if (op.kind === "detach") return this.value(node.inputs[0] ?? -1);
    if (!accumulates(node)) return this.#interpret(node);
    const data = new Float64Array(elementCount(node.type.shape));
    this.#accumulate(node, data, undefined);
    return { shape: node.type.shape, data };
  }

  /** target += value of node `id`. */
  accumulate(id: number, target: Float64Array): void {
    this.#accumulate(this.#node(id), target, undefined);
  }

  /** target += value(node) * factors, one factor per index of the first axis. */
  #accumulate(node: Node, target: Float64Array, factors: Float64Array | undefined): void {
    const { op } = node;
    const [first = -1, second = -1] = node.inputs;
    if (op.kind === "add") {
      for (const input of node.inputs) this.#accumulate(this.#node(input), target, factors);
    } else if (op.kind === "scale") {
      const own = toFloat64(this.value(second)).data;
      this.#accumulate(this.#node(first), target, factors ? multiply(own, factors) : own);
    } else if (op.kind === "embed") {
      addEmbedded(target, this.value(first), op, factors);
    } else if (op.kind === "composeKernels") {
      this.#accumulateComposition(node, op, target, factors);
    } else if (isOuterProduct(node)) {
      addOuterProducts(target, this.value(first), this.value(second), factors);
    } else {
      addScaled(target, this.value(node.id).data, factors);
    }
  }

  #accumulateComposition(
    node: Node,
    op: OpOf<"composeKernels">,
    target: Float64Array,
    factors: Float64Array | undefined,
  ): void {
    const [first = -1, second = -1] = node.inputs;
    const [, , height = 1, width = 1] = this.#node(first).type.shape;
    if (op.correlate || height * width > 1) {
      addScaled(target, this.#interpret(node).data, factors);
    } else {
      addPointwiseComposition(target, this.value(first), this.value(second), op.groups, factors);
    }
  }

  /** Applies one op by the plain interpreter. */
  #interpret(node: Node): Numbers {
    const inputs = node.inputs.map((input) => this.value(input));
    const nodes = inputs.map((input, id): Node => parameterNode(id, input.shape));
    const applied = { ...node, id: nodes.length, inputs: inputs.map((_, id) => id) };
    const graph = {
      nodes: [...nodes, applied],
      outputs: [{ name: "value", value: applied.id }],
    };
    const state = new Map(inputs.map((input, id) => [String(id), input]));
    return interpret(graph, state, undefined, { mode: "infer" }).outputs.get("value")!;
  }

  #node(id: number): Node {
    const node = this.#graph.nodes[id];
    if (node?.type.world !== "weight") {
      throw new RepkitError("internal", `node ${id} is not a weight expression`);
    }
    return node;
  }
}

/** What is better added to a sum in place than computed for itself. */
function accumulates(node: Node): boolean {
  const { kind } = node.op;
  const isSum = kind === "add" || kind === "scale";
  return isSum || kind === "embed" || kind === "composeKernels" || isOuterProduct(node);
}

function isOuterProduct({ op }: Node): boolean {
  return op.kind === "einsum" && op.equation === "oi,ohw->oihw";
}

function stored(state: StateSource, { name, shape }: OpOf<"param">): Numbers {
  const tensor = state.get(name);
  if (tensor === undefined) throw new RepkitError("usage", `state: no tensor "${name}"`);
  if (tensor.data.length !== elementCount(shape)) {
    const found = tensor.shape.join(",");
    throw new RepkitError(
      "usage",
      `state: "${name}" should be (${shape.join(",")}), is (${found})`,
    );
  }
  const { data } = tensor;
  return isBigInts(data) ? toFloat64({ shape, data }) : ({ shape, data } as Numbers);
}

function isBigInts(data: Tensor["data"]): data is BigInt64Array {
  return typeof data[0] === "bigint";
}

function parameterNode(id: number, shape: readonly number[]): Node {
  return {
    id,
    op: {
      kind: "param",
      name: String(id),
      shape,
      role: "buffer",
      dtype: "f32",
      init: { kind: "constant", value: 0 },
      decay: "none",
    },
    inputs: [],
    type: { world: "weight", shape },
    name: String(id),
  };
}

function multiply(a: Float64Array, b: Float64Array): Float64Array {
  const product = new Float64Array(a.length);
  for (let i = 0; i < a.length; i++) product[i] = a[i]! * b[i]!;
  return product;
}

/** target += data * factors, one factor per index of the first axis. */
function addScaled(
  target: Float64Array,
  data: Numbers["data"],
  factors: Float64Array | undefined,
): void {
  if (factors === undefined) {
    for (let i = 0; i < target.length; i++) target[i]! += data[i]!;
    return;
  }
  const row = target.length / factors.length;
  for (let o = 0, i = 0; o < factors.length; o++) {
    const factor = factors[o]!;
    for (const end = i + row; i < end; i++) target[i]! += data[i]! * factor;
  }
}

/** target[o][i][p] += a[o][i] * b[o][p] * factors[o]: a 1x1 kernel, then one depthwise kernel per output. */
function addOuterProducts(
  target: Float64Array,
  a: Numbers,
  b: Numbers,
  factors: Float64Array | undefined,
): void {
  const [out = 1, inputs = 1] = a.shape;
  const taps = elementCount(b.shape.slice(1));
  for (let o = 0, to = 0, from = 0; o < out; o++) {
    const factor = factors === undefined ? 1 : factors[o]!;
    for (let i = 0; i < inputs; i++, from++) {
      const value = a.data[from]! * factor;
      for (let p = o * taps; p < (o + 1) * taps; p++) target[to++]! += value * b.data[p]!;
    }
  }
}

/** Adds a kernel placed inside a larger one; see the op `embed`. */
function addEmbedded(
  target: Float64Array,
  inner: Numbers,
  op: OpOf<"embed">,
  factors: Float64Array | undefined,
): void {
  const [out = 1, perGroup = 1, height = 1, width = 1] = inner.shape;
  const [kernelH, kernelW] = op.kernel;
  const [offsetH, offsetW] = op.offset;
  const [dilationH, dilationW] = op.dilation;
  const merged = op.groups.from / op.groups.to;
  const outPerGroup = out / op.groups.from;
  const { data } = inner;
  let from = 0;
  for (let o = 0; o < out; o++) {
    const factor = factors === undefined ? 1 : factors[o]!;
    const group = (o - (o % outPerGroup)) / outPerGroup;
    const firstInput = o * perGroup * merged + (group % merged) * perGroup;
    for (let i = 0; i < perGroup; i++) {
      for (let h = 0; h < height; h++) {
        const row = (firstInput + i) * kernelH + offsetH + h * dilationH;
        let to = row * kernelW + offsetW;
        for (let w = 0; w < width; w++, to += dilationW) target[to]! += data[from++]! * factor;
      }
    }
  }
}

/**
 * Adds the kernel of a 1x1 convolution followed by a KxK one: first [T,I/g,1,1], second [O,T/g,h,w].
 * One matrix product for each group, whose rows are the pairs (output channel, tap).
 */
function addPointwiseComposition(
  target: Float64Array,
  first: Numbers,
  second: Numbers,
  groups: number,
  factors: Float64Array | undefined,
): void {
  const [out = 1, inner = 1, height = 1, width = 1] = second.shape;
  const [, columns = 1] = first.shape;
  const taps = height * width;
  const perGroup = out / groups;
  for (let group = 0; group < groups; group++) {
    const channel = (row: number) => group * perGroup + Math.floor(row / taps);
    multiplyAdd(
      { data: target, start: (row) => channel(row) * columns * taps + (row % taps), step: taps },
      {
        data: second.data,
        start: (row) => channel(row) * inner * taps + (row % taps),
        step: taps,
      },
      lines(first.data, { offset: group * inner * columns, distance: 1, step: columns }),
      {
        rows: perGroup * taps,
        columns,
        inner,
        factor: factors && ((row) => factors[channel(row)]!),
      },
    );
  }
}
