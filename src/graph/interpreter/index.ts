/**
 * A slow, plain float64 interpreter of every op: the yardstick for rewrite rules and engines. It
 * favours code that can be checked against a definition over speed; engines do the real work.
 */
import { types } from "node:util";

import { RepkitError } from "../../errors.js";
import { sharedConstant, unshared } from "../parameters.js";
import {
  elementCount,
  formatShape,
  sameShape,
  toFloat64,
  toFloats,
  type Float64Tensor,
  type State,
  type StateSource,
  type Tensor,
} from "../tensor.js";
import type { Graph, Node, OpOf } from "../types.js";
import { conv2d, linear } from "./convolution.js";
import { add, concat, map, mul, relu, sigmoid, silu, sub } from "./elementwise.js";
import { batchNormInfer, batchNormTrain, type BatchNormInputs } from "./normalization.js";
import { avgPool, globalAvgPool, maxPool } from "./pooling.js";
import { composeKernels, einsum, embed, scale, select } from "./weights.js";

/** uint8 pixels [N,H,W,C], normalised by the graph, or numbers [N,C,H,W] that are normalised already. */
export type Images = { readonly shape: readonly number[]; readonly data: Uint8Array } | Tensor;

export interface InterpretOptions {
  /** `infer` normalises by running statistics; `train` by the batch's own, and updates the running ones. */
  readonly mode: "infer" | "train";
  /** Called with every value as it is computed. */
  readonly onValue?: (node: Node, value: Float64Tensor) => void;
}

export interface Interpretation {
  /** By output name; activations have the batch as their first axis. */
  readonly outputs: ReadonlyMap<string, Float64Tensor>;
  /** In training mode, the buffers after this step: running statistics (float64) and counters. */
  readonly updates: State;
}

/**
 * Runs a graph. `state` holds a tensor for each parameter; `images` may be missing where the graph
 * has no input. Throws a RepkitError that names a missing or misshapen tensor.
 */
export function interpret(
  graph: Graph,
  state: StateSource,
  images: Images | undefined,
  options: InterpretOptions,
): Interpretation {
  const run = interpretStepwise(graph, state, images, options);
  let step = run.next();
  while (step.done !== true) step = run.next();
  return step.value;
}

/** The same for a caller with something to do in between: yields each node before it is computed. */
export function* interpretStepwise(
  graph: Graph,
  state: StateSource,
  images: Images | undefined,
  options: InterpretOptions,
): Generator<Node, Interpretation, undefined> {
  const values = new Map<number, Tensor>();
  const updates: State = new Map();
  const needed = neededNodes(graph);
  const lastUse = lastUses(graph, needed);
  for (const id of needed) {
    const node = graph.nodes[id]!;
    yield node;
    const value = evaluate(graph, node, { values, state, images, updates, mode: options.mode });
    options.onValue?.(node, unshared(toFloat64(value)));
    values.set(id, value);
    for (const input of node.inputs) if (lastUse.get(input) === id) values.delete(input);
  }
  const outputs = new Map<string, Float64Tensor>();
  for (const { name, value } of graph.outputs) outputs.set(name, unshared(read(values, value)));
  return { outputs, updates };
}

interface Context {
  /** Parameters as they are stored, everything else in float64. */
  readonly values: Map<number, Tensor>;
  readonly state: StateSource;
  readonly images: Images | undefined;
  readonly updates: State;
  readonly mode: "infer" | "train";
}

function evaluate(graph: Graph, node: Node, context: Context): Tensor {
  const { op } = node;
  if (op.kind === "conv2d" || op.kind === "linear") return layer(node, op, context.values);
  if (op.kind === "einsum") {
    return einsum(
      op.equation,
      node.inputs.map((input) => toFloats(stored(context.values, input))),
    );
  }
  if (op.kind === "add") {
    return add(node.inputs.map((input) => toFloats(stored(context.values, input))));
  }
  const inputs = node.inputs.map((input) => read(context.values, input));
  const [x, y] = inputs as [Float64Tensor, Float64Tensor];
  switch (op.kind) {
    case "input":
      return normalisedImages(op, context.images);
    case "param":
      return stateTensor(context.state, op);
    case "constant":
      return sharedConstant(op.shape, op.fill);
    case "batchNorm":
      return batchNorm(graph, node, op, inputs, context);
    case "relu":
      return relu(x);
    case "silu":
      return silu(x);
    case "sigmoid":
      return sigmoid(x);
    case "maxPool":
      return maxPool(x, op);
    case "avgPool":
      return avgPool(x, op);
    case "globalAvgPool":
      return globalAvgPool(x);
    case "flatten":
      return { shape: [x.shape[0] ?? 0, elementCount(x.shape.slice(1))], data: x.data };
    case "mul":
      return mul(x, y);
    case "concat":
      return concat(inputs, node.type.world === "activation" ? 1 : 0);
    case "sub":
      return sub(x, y);
    case "inverseStd":
      return map(x, (value) => 1 / Math.sqrt(value + op.eps));
    case "scale":
      return scale(x, y);
    case "embed":
      return embed(x, op);
    case "composeKernels":
      return composeKernels(x, y, op);
    case "reshape":
      return { shape: op.shape, data: x.data };
    case "select":
      return select(x, op.index);
    case "detach":
      return x;
  }
}

/** Their weights are large, and are read as they are stored. */
function layer(
  node: Node,
  op: OpOf<"conv2d" | "linear">,
  values: ReadonlyMap<number, Tensor>,
): Float64Tensor {
  const [x = -1, weight = -1, bias] = node.inputs;
  const input = read(values, x);
  const kernel = stored(values, weight);
  const shift = bias === undefined ? undefined : read(values, bias);
  return op.kind === "conv2d" ? conv2d(input, kernel, shift, op) : linear(input, kernel, shift);
}

function batchNorm(
  graph: Graph,
  node: Node,
  op: OpOf<"batchNorm">,
  inputs: readonly Float64Tensor[],
  context: Context,
): Float64Tensor {
  const [x, gamma, beta, mean, variance] = inputs as [
    Float64Tensor,
    Float64Tensor,
    Float64Tensor,
    Float64Tensor,
    Float64Tensor,
  ];
  const weights: BatchNormInputs = { gamma, beta, mean, variance };
  if (context.mode === "infer") return batchNormInfer(x, weights, op);
  const result = batchNormTrain(x, weights, op);
  const update = (position: number, value: (before: Tensor) => Tensor) => {
    const source = graph.nodes[node.inputs[position] ?? -1]?.op;
    if (source?.kind !== "param") return;
    const updated = value(stateOf(context.state, source.name));
    context.updates.set(source.name, updated);
    // What stands after the batch norm reads the statistics of this step.
    context.values.set(node.inputs[position]!, updated);
  };
  update(3, () => result.mean);
  update(4, () => result.variance);
  update(5, ({ data }) => ({ shape: [], data: BigInt64Array.of(BigInt(data[0] ?? 0) + 1n) }));
  return result.output;
}

function normalisedImages(op: OpOf<"input">, images: Images | undefined): Float64Tensor {
  if (images === undefined) throw new RepkitError("usage", "this graph needs a batch of images");
  const [channels = 0, height = 0, width = 0] = op.shape;
  const { data, shape } = images;
  const [batch = 0] = shape;
  const bytes = types.isUint8Array(data);
  const expected = bytes ? [batch, height, width, channels] : [batch, ...op.shape];
  if (!sameShape(shape, expected)) {
    throw new RepkitError(
      "usage",
      `images: expected ${formatShape(expected)}, received ${formatShape(shape)}`,
    );
  }
  if (!bytes) return toFloat64({ shape, data });
  const result = new Float64Array(data.length);
  const area = height * width;
  for (let i = 0; i < data.length; i++) {
    const channel = i % channels;
    const pixel = (i - channel) / channels;
    const target = (Math.floor(pixel / area) * channels + channel) * area + (pixel % area);
    result[target] = (data[i]! / 255 - op.mean[channel]!) / op.std[channel]!;
  }
  return { shape: [batch, ...op.shape], data: result };
}

function stateTensor(state: StateSource, op: OpOf<"param">): Tensor {
  const tensor = stateOf(state, op.name);
  if (!sameShape(tensor.shape, op.shape)) {
    throw new RepkitError(
      "usage",
      `state: "${op.name}" should be ${formatShape(op.shape)}, received ${formatShape(tensor.shape)}`,
    );
  }
  return tensor;
}

function stateOf(state: StateSource, name: string): Tensor {
  const tensor = state.get(name);
  if (tensor === undefined) throw new RepkitError("usage", `state: no tensor "${name}"`);
  return tensor;
}

/** Positions of the nodes that an output depends on, ascending: of a large graph, an output may need few. */
function neededNodes({ nodes, outputs }: Graph): readonly number[] {
  const needed = new Set(outputs.map(({ value }) => value));
  // A set is walked in the order of insertion, also what is inserted on the way.
  for (const id of needed) for (const input of nodes[id]!.inputs) needed.add(input);
  return [...needed].sort((a, b) => a - b);
}

/** The node after which a value is no longer needed, for every value that an output depends on. */
function lastUses(
  { nodes, outputs }: Graph,
  needed: readonly number[],
): ReadonlyMap<number, number> {
  const last = new Map<number, number>();
  for (const id of needed) for (const input of nodes[id]!.inputs) last.set(input, id);
  for (const { value } of outputs) last.set(value, Infinity);
  return last;
}

function read(values: ReadonlyMap<number, Tensor>, id: number): Float64Tensor {
  return toFloat64(stored(values, id));
}

function stored(values: ReadonlyMap<number, Tensor>, id: number): Tensor {
  const value = values.get(id);
  if (value === undefined) throw new RepkitError("internal", `value ${id} is not computed yet`);
  return value;
}
