/**
 * Evaluates weight expressions in float64: the numbers behind the kernel algebra. Sums are
 * accumulated in place and per-channel factors carried down to the terms, so that a folded kernel
 * costs about one pass over memory per branch and no copy of any parameter.
 */
import { RepkitError } from "../errors.js";
import {
  sharedConstant,
  elementCount,
  type Float64Tensor,
  type FloatTensor,
  type Graph,
  interpret,
  type Node,
  type OpOf,
  type StateSource,
  type Tensor,
  toFloat64,
  toFloats,
  unshared,
} from "../graph/index.js";
import { addOuter, addScaled, lines, multiplyAdd, round, roundScaled } from "../linalg/index.js";
import { recycle, takeMemory } from "../util/spare-memory.js";

/** The value of weight node `id`, from the parameters it depends on; nothing else is read. */
export function evaluateWeight(graph: Graph, id: number, state: StateSource): Float64Tensor {
  return unshared(toFloat64(new Evaluation(graph, state).value(id)));
}

/** The same, rounded once to float32; in `data` where that is given. */
export function evaluateRounded(
  graph: Graph,
  id: number,
  state: StateSource,
  data: Float32Array = new Float32Array(elementCount(graph.nodes[id]?.type.shape ?? [])),
): Tensor<Float32Array> {
  const shape = graph.nodes[id]?.type.shape ?? [];
  const evaluation = new Evaluation(graph, state);
  const scaled = evaluation.scaledParameter(id);
  if (scaled !== undefined) {
    roundScaled(scaled.parameter.data, scaled.factors, data);
    return { shape, data };
  }
  const [rows = 1] = shape;
  const row = data.length / rows;
  // So many output channels at a time that their sums stay in the processor's caches.
  const step = Math.max(1, Math.floor(SUMS / Math.max(row, 1)));
  if (sums.length < row) sums = new Float64Array(row);
  for (let first = 0; first < rows; first += step) {
    const end = Math.min(first + step, rows);
    const target = sums.subarray(0, (end - first) * row).fill(0);
    evaluation.accumulate(id, target, { first, end });
    round(target, data.subarray(first * row, end * row));
  }
  evaluation.finish();
  return { shape, data };
}

const SUMS = 1 << 18; // numbers
/** Shared by one weight after the other: fresh memory costs more than the arithmetic on it. */
let sums = new Float64Array(SUMS);

/** Indices of the first axis, from `first` to before `end`. */
interface Rows {
  readonly first: number;
  readonly end: number;
}

class Evaluation {
  readonly #graph: Graph;
  readonly #state: StateSource;
  readonly #known = new Map<number, FloatTensor>();
  /** Values that nobody else has. */
  readonly #own: Float64Array[] = [];

  constructor(graph: Graph, state: StateSource) {
    this.#graph = graph;
    this.#state = state;
  }

  /** The value of a node, computed once. */
  value(id: number): FloatTensor {
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    const value = this.#compute(this.#node(id));
    this.#known.set(id, value);
    return value;
  }

  #compute(node: Node): FloatTensor {
    const { op } = node;
    if (op.kind === "param") return stored(this.#state, op);
    if (op.kind === "constant") return sharedConstant(op.shape, op.fill);
    if (op.kind === "reshape") return { ...this.value(node.inputs[0] ?? -1), shape: op.shape };
    if (op.kind === "detach") return this.value(node.inputs[0] ?? -1);
    if (!accumulates(node)) return this.#interpret(node);
    const { shape } = node.type;
    const count = elementCount(shape);
    const data = new Float64Array(takeMemory(8 * count).buffer, 0, count).fill(0);
    this.#own.push(data);
    this.#accumulate(node, data, { first: 0, end: shape[0] ?? 1 }, undefined);
    return { shape, data };
  }

  /** Gives memory back; values are gone. */
  finish(): void {
    this.#known.clear();
    for (const data of this.#own) recycle(data);
  }

  /** A parameter and its factors, where the value of the node is no more than that. */
  scaledParameter(id: number): { parameter: FloatTensor; factors: Float64Array } | undefined {
    const { op, inputs } = this.#node(id);
    const [first = -1, second = -1] = inputs;
    if (op.kind !== "scale" || this.#node(first).op.kind !== "param") return undefined;
    return { parameter: this.value(first), factors: toFloat64(this.value(second)).data };
  }

  /** target += those rows of the value of node `id`. */
  accumulate(id: number, target: Float64Array, rows: Rows): void {
    this.#accumulate(this.#node(id), target, rows, undefined);
  }

  /** target += rows of value(node) * factors, one factor for each index of the whole first axis. */
  #accumulate(
    node: Node,
    target: Float64Array,
    rows: Rows,
    factors: Float64Array | undefined,
  ): void {
    const { op } = node;
    const [first = -1, second = -1] = node.inputs;
    if (op.kind === "add") {
      for (const input of node.inputs) this.#accumulate(this.#node(input), target, rows, factors);
    } else if (op.kind === "scale") {
      const own = toFloat64(this.value(second)).data;
      this.#accumulate(this.#node(first), target, rows, factors ? multiply(own, factors) : own);
    } else if (op.kind === "embed") {
      addEmbedded(target, this.value(first), op, rows, factors);
    } else if (op.kind === "composeKernels" && this.#isPointwise(node, op)) {
      const kernels = { first: this.value(first), second: this.value(second) };
      addPointwiseComposition(target, kernels, op.groups, rows, factors);
    } else if (isOuterProduct(node)) {
      addOuterProducts(target, this.value(first), this.value(second), rows, factors);
    } else {
      addRows(target, this.#interpreted(node), rows, factors);
    }
  }

  /** Whether a composition is a matrix product. */
  #isPointwise(node: Node, { correlate }: OpOf<"composeKernels">): boolean {
    const [, , height = 1, width = 1] = this.#node(node.inputs[0] ?? -1).type.shape;
    return !correlate && height * width === 1;
  }

  /** The value of a node that is not a sum of others; a composition's own, which `value` would ask for here. */
  #interpreted(node: Node): FloatTensor {
    const known = this.#known.get(node.id);
    if (known !== undefined) return known;
    const value = node.op.kind === "composeKernels" ? this.#interpret(node) : this.value(node.id);
    this.#known.set(node.id, value);
    return value;
  }

  /** Applies one op by the plain interpreter. */
  #interpret(node: Node): FloatTensor {
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

function stored(state: StateSource, { name, shape }: OpOf<"param">): FloatTensor {
  const tensor = state.get(name);
  if (tensor === undefined) throw new RepkitError("usage", `state: no tensor "${name}"`);
  if (tensor.data.length !== elementCount(shape)) {
    const found = tensor.shape.join(",");
    throw new RepkitError(
      "usage",
      `state: "${name}" should be (${shape.join(",")}), is (${found})`,
    );
  }
  return { ...toFloats(tensor), shape };
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

/** target += rows of data * factors. */
function addRows(
  target: Float64Array,
  { data }: FloatTensor,
  { first, end }: Rows,
  factors: Float64Array | undefined,
): void {
  const row = target.length / (end - first);
  addScaled(target, data.subarray(first * row, end * row), factors?.subarray(first, end));
}

/** target[o][i][p] += a[o][i] * b[o][p] * factors[o]: a 1x1 kernel, then one depthwise kernel per output. */
function addOuterProducts(
  target: Float64Array,
  a: FloatTensor,
  b: FloatTensor,
  { first, end }: Rows,
  factors: Float64Array | undefined,
): void {
  const [, inputs = 1] = a.shape;
  const taps = elementCount(b.shape.slice(1));
  addOuter(
    target,
    a.data.subarray(first * inputs, end * inputs),
    b.data.subarray(first * taps, end * taps),
    factors?.subarray(first, end) ?? new Float64Array(end - first).fill(1),
  );
}

/** Adds a kernel placed inside a larger one; see the op `embed`. */
function addEmbedded(
  target: Float64Array,
  inner: FloatTensor,
  op: OpOf<"embed">,
  { first, end }: Rows,
  factors: Float64Array | undefined,
): void {
  const [out = 1, perGroup = 1, height = 1, width = 1] = inner.shape;
  const [kernelH, kernelW] = op.kernel;
  const [offsetH, offsetW] = op.offset;
  const [dilationH, dilationW] = op.dilation;
  const merged = op.groups.from / op.groups.to;
  const outPerGroup = out / op.groups.from;
  const { data } = inner;
  let from = first * perGroup * height * width;
  for (let o = first; o < end; o++) {
    const factor = factors === undefined ? 1 : factors[o]!;
    const group = (o - (o % outPerGroup)) / outPerGroup;
    const firstInput = ((o - first) * merged + (group % merged)) * perGroup;
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
  { first, second }: { first: FloatTensor; second: FloatTensor },
  groups: number,
  rows: Rows,
  factors: Float64Array | undefined,
): void {
  const [out = 1, inner = 1, height = 1, width = 1] = second.shape;
  const [, columns = 1] = first.shape;
  const taps = height * width;
  const perGroup = out / groups;
  for (let group = Math.floor(rows.first / perGroup); group * perGroup < rows.end; group++) {
    const begin = Math.max(rows.first, group * perGroup);
    const end = Math.min(rows.end, (group + 1) * perGroup);
    const channel = (row: number) => begin + Math.floor(row / taps);
    multiplyAdd(
      {
        data: target,
        start: (row) => (channel(row) - rows.first) * columns * taps + (row % taps),
        step: taps,
      },
      {
        data: second.data,
        start: (row) => channel(row) * inner * taps + (row % taps),
        step: taps,
      },
      lines(first.data, { offset: group * inner * columns, distance: 1, step: columns }),
      {
        rows: (end - begin) * taps,
        columns,
        inner,
        factor: factors && ((row) => factors[channel(row)]!),
      },
    );
  }
}
