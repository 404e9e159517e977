// Folding under test: random states, rules that count their firings, and both graphs run side by side.

import { expect } from "@jest/globals";

import {
  elementCount,
  type Float64Tensor,
  type Graph,
  interpret,
  type Node,
  type OpKind,
  type ParamOp,
  parametersOf,
  randomStream,
  type Scope,
  type State,
  type StateSource,
  structuralHash,
  type Tensor,
  type Value,
  verifyGraph,
} from "../../src/graph/index.js";
import {
  type FoldedGraph,
  foldGraph,
  type FoldOptions,
  type Rule,
  rules as allRules,
} from "../../src/reparam/index.js";
import { weight } from "./graphs.js";

const { sqrt } = Math;

/** Values of both signs for everything, running statistics far from 0 and 1, counters that have counted. */
export function randomState(graph: Graph, seed = 0): State {
  return new Map(parametersOf(graph).map((op) => [op.name, randomTensor(op, seed)]));
}

function randomTensor(op: ParamOp, seed: number): Tensor {
  const { name, shape } = op;
  const random = randomStream(seed, name);
  if (op.dtype === "i64") return { shape, data: BigInt64Array.of(BigInt(1000 + seed)) };
  const data = new Float64Array(elementCount(shape));
  const isVariance = name.endsWith("running_var");
  const scale = shape.length > 1 ? 1.7 / sqrt(elementCount(shape.slice(1))) : 1;
  for (let i = 0; i < data.length; i++) {
    data[i] = isVariance ? 0.3 + random() : (2 * random() - 1) * scale;
  }
  return { shape, data };
}

/** Normalised images [2,C,H,W] of that seed. */
export function randomImages(graph: Graph, seed = 0): Float64Tensor {
  const [input] = graph.nodes.filter(({ op }) => op.kind === "input");
  const shape = [2, ...(input?.type.shape ?? [])];
  const random = randomStream(seed, "images");
  const data = Float64Array.from({ length: elementCount(shape) }, () => 2 * random() - 1);
  return { shape, data };
}

/** A graph's outputs by name. */
export function outputsOf(
  graph: Graph,
  state: StateSource,
  images: Float64Tensor,
): ReadonlyMap<string, Float64Tensor> {
  return interpret(graph, state, images, { mode: "infer" }).outputs;
}

/** Largest difference between the outputs of two graphs, relative to the largest output. */
export function relativeDifference(
  actual: ReadonlyMap<string, Float64Tensor>,
  expected: ReadonlyMap<string, Float64Tensor>,
): number {
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  let worst = 0;
  for (const [name, { shape, data }] of expected) {
    const other = actual.get(name)!;
    expect([name, other.shape]).toEqual([name, shape]);
    const found = other.data;
    let [largest, difference] = [0, 0];
    for (let i = 0; i < data.length; i++) {
      const [e, a] = [data[i]!, found[i]!];
      const size = e < 0 ? -e : e;
      const gap = a < e ? e - a : a - e;
      if (size > largest) largest = size;
      // A NaN must not pass, and compares as false with everything.
      if (!(gap <= difference)) difference = gap;
    }
    const relative = difference === 0 ? 0 : difference / largest;
    if (!(relative <= worst)) worst = relative;
  }
  return worst;
}

/** The rules, and how often each has been applied through them. */
export function countingRules(): {
  rules: readonly Rule[];
  counts: ReadonlyMap<string, number>;
} {
  const counts = new Map<string, number>();
  const rules = allRules.map((rule): Rule => {
    const look: Rule["look"] = (graph, node) => {
      const verdict = rule.look(graph, node);
      if (verdict === undefined || !("rewrite" in verdict)) return verdict;
      const rewrite = () => {
        counts.set(rule.name, (counts.get(rule.name) ?? 0) + 1);
        return verdict.rewrite();
      };
      return { rewrite };
    };
    return { ...rule, look };
  });
  return { rules, counts };
}

/** What folding made of a graph, after checking that it computes the same and is well formed. */
export interface Checked extends FoldedGraph {
  /** How often each rule fired, by name; those taken back again count too. */
  readonly fired: Readonly<Record<string, number>>;
  /** The activation ops that are left, in order, without the input. */
  readonly kinds: readonly OpKind[];
  /** The convolutions that are left. */
  readonly convolutions: readonly Node[];
}

/** Folds, and expects the same outputs of the float64 interpreter to 1e-12 of the largest. */
export function foldExactly(graph: Graph, options: FoldOptions = {}, seed = 0): Checked {
  const { rules, counts } = countingRules();
  const folded = foldGraph(graph, { rules, ...options });
  verifyGraph(folded.graph);
  const state = randomState(graph, seed);
  const images = randomImages(graph, seed);
  const difference = relativeDifference(
    outputsOf(folded.graph, state, images),
    outputsOf(graph, state, images),
  );
  expect(difference).toBeLessThan(1e-12);
  const activations = folded.graph.nodes.filter(({ type }) => type.world === "activation");
  return {
    ...folded,
    fired: Object.fromEntries(counts),
    kinds: activations.map(({ op }) => op.kind).filter((kind) => kind !== "input"),
    convolutions: activations.filter(({ op }) => op.kind === "conv2d"),
  };
}

/** Expects that nothing folds, and that the graph comes out as it went in. */
export function expectUntouched(graph: Graph, options: FoldOptions = {}): Checked {
  const checked = foldExactly(graph, options);
  expect(checked.groups).toEqual([]);
  expect(structuralHash(checked.graph)).toBe(structuralHash(graph));
  return checked;
}

/** `rule: reason` of every refusal at the node of that name. */
export function reasonsAt({ refused }: FoldedGraph, output: string): readonly string[] {
  return refused
    .filter((refusal) => refusal.output === output)
    .map(({ rule, reason }) => `${rule}: ${reason}`);
}

/** Kernel of a folded convolution, as a string. */
export function kernelOf(graph: Graph, node: Node): string {
  return graph.nodes[node.inputs[1]!]!.type.shape.join("x");
}

export interface ConvOptions {
  out?: number;
  kernel?: number | readonly [number, number];
  stride?: number | readonly [number, number];
  padding?: number | readonly [number, number] | readonly [number, number, number, number];
  dilation?: number | readonly [number, number];
  groups?: number;
  bias?: boolean;
}

/** A convolution `name` with parameters of its own. */
export function convNamed(
  scope: Scope,
  name: string,
  x: Value,
  { out = 4, kernel = 3, groups = 1, bias = false, ...geometry }: ConvOptions = {},
): Value {
  const [height, width] = typeof kernel === "number" ? [kernel, kernel] : kernel;
  const layer = scope.child(name);
  const w = weight(layer, "weight", [out, x.type.shape[0]! / groups, height, width]);
  const b = bias ? weight(layer, "bias", [out]) : undefined;
  return scope.conv2d(x, w, b, { ...geometry, groups }, name);
}

/** A batch norm `name` with parameters of its own. */
export function normNamed(
  scope: Scope,
  name: string,
  x: Value,
  pad: number | readonly [number, number, number, number] = 0,
): Value {
  const layer = scope.child(name);
  const shape = x.type.shape.slice(0, 1);
  const weights = {
    gamma: weight(layer, "weight", shape),
    beta: weight(layer, "bias", shape),
    mean: layer.buffer("running_mean", shape, { kind: "constant", value: 0 }),
    variance: layer.buffer("running_var", shape, { kind: "constant", value: 1 }),
    counter: layer.counter("num_batches_tracked"),
  };
  return scope.batchNorm(x, weights, { pad }, name);
}
