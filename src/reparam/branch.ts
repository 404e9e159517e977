/**
 * A convolution in a graph under rewriting, seen as one branch: y = W * x + b with its geometry.
 * All kernel algebra is here and in the rules, as weight expressions: emitted once, they are both
 * the differentiable equivalent kernel and, evaluated in float64, the converted weights.
 *
 * Shapes: kernel O,I,H,W (I per group); bias and per-channel vectors O.
 */
import type { Fill, Op, OpOf, Padding, Pair } from "../graph/index.js";
import { type WorkGraph, type WorkNode, asOp } from "./workgraph.js";

export interface Branch {
  readonly source: WorkNode;
  readonly kernel: WorkNode;
  readonly bias: WorkNode | undefined;
  readonly op: OpOf<"conv2d">;
  /** The convolution node itself. */
  readonly node: WorkNode;
}

/** The convolution as a branch; undefined for any other node. */
export function branchOf(graph: WorkGraph, node: WorkNode): Branch | undefined {
  const conv = asOp(node, "conv2d");
  if (conv === undefined) return undefined;
  const [source, kernel, bias] = graph.inputs(conv);
  return { source: source!, kernel: kernel!, bias, op: conv.op, node };
}

/** Adds weight expressions in the place of `root`. */
export class Emitter {
  readonly #graph: WorkGraph;
  readonly #root: WorkNode;

  constructor(graph: WorkGraph, root: WorkNode) {
    this.#graph = graph;
    this.#root = root;
  }

  emit(op: Op, ...inputs: readonly WorkNode[]): WorkNode {
    return this.#graph.add(this.#root, op, inputs);
  }

  constant(shape: readonly number[], fill: Fill): WorkNode {
    return this.emit({ kind: "constant", shape, fill });
  }

  add(...terms: readonly WorkNode[]): WorkNode {
    const [only] = terms;
    return terms.length === 1 && only !== undefined ? only : this.emit({ kind: "add" }, ...terms);
  }

  /** The sum of the biases there are; undefined where there is none. */
  addBiases(biases: readonly (WorkNode | undefined)[]): WorkNode | undefined {
    const present = biases.filter((bias) => bias !== undefined);
    return present.length === 0 ? undefined : this.add(...present);
  }

  sub(a: WorkNode, b: WorkNode): WorkNode {
    return this.emit({ kind: "sub" }, a, b);
  }

  /** Multiplies a kernel or a vector by one factor per output channel. */
  scale(weight: WorkNode, perOutput: WorkNode): WorkNode {
    return this.emit({ kind: "scale" }, weight, perOutput);
  }

  /** gamma / sqrt(variance + eps), one factor per channel. */
  batchNormScale(gamma: WorkNode, variance: WorkNode, eps: number): WorkNode {
    return this.scale(this.emit({ kind: "inverseStd", eps }, variance), gamma);
  }

  concat(...parts: readonly WorkNode[]): WorkNode {
    return this.emit({ kind: "concat" }, ...parts);
  }

  einsum(equation: string, ...operands: readonly WorkNode[]): WorkNode {
    return this.emit({ kind: "einsum", equation }, ...operands);
  }

  reshape(weight: WorkNode, shape: readonly number[]): WorkNode {
    return this.emit({ kind: "reshape", shape }, weight);
  }

  compose(first: WorkNode, second: WorkNode, groups: number): WorkNode {
    return this.emit({ kind: "composeKernels", groups, correlate: false }, first, second);
  }

  /** Places a kernel inside a larger one; returns the same kernel where nothing changes. */
  embed(kernel: WorkNode, options: Omit<OpOf<"embed">, "kind">): WorkNode {
    const { groups, offset, dilation } = options;
    const [height, width] = kernelExtent(kernel);
    const spread = (extent: number, factor: number) => extent > 1 && factor > 1;
    const same =
      groups.from === groups.to &&
      offset[0] === 0 &&
      offset[1] === 0 &&
      options.kernel[0] === height &&
      options.kernel[1] === width &&
      !spread(height, dilation[0]) &&
      !spread(width, dilation[1]);
    return same ? kernel : this.emit({ kind: "embed", ...options }, kernel);
  }
}

/** The parts of a convolution that a rule wants to put in the place of `root`. */
export interface NewConvolution {
  readonly source: WorkNode;
  readonly kernel: WorkNode;
  readonly bias: WorkNode | undefined;
  readonly geometry: Omit<OpOf<"conv2d">, "kind">;
  /** The nodes that it stands for, besides `root`. */
  readonly absorbed: readonly WorkNode[];
  readonly rule: string;
  /** The node that the rule looked at, where that is not `root`. */
  readonly firedAt?: WorkNode;
}

/** Adds the convolution; provenance and covered nodes are merged from what it absorbs. */
export function addConvolution(
  graph: WorkGraph,
  root: WorkNode,
  { source, kernel, bias, geometry, absorbed, rule, firedAt = root }: NewConvolution,
): WorkNode {
  const parts = [...absorbed, root];
  const covers = new Set(parts.flatMap((node) => [...node.covers]));
  const steps = [...parts.flatMap((node) => node.steps), { rule, position: firedAt.position }];
  const inputs = bias === undefined ? [source, kernel] : [source, kernel, bias];
  const { foldName } = root;
  return graph.add(root, { kind: "conv2d", ...geometry }, inputs, { foldName, covers, steps });
}

/** Height and width of a kernel. */
export function kernelExtent(kernel: WorkNode): Pair {
  const [, , height = 1, width = 1] = kernel.type.shape;
  return [height, width];
}

export const NO_PADDING: Padding = [0, 0, 0, 0];

export function isZero(padding: Padding): boolean {
  return padding.every((side) => side === 0);
}

/** Equal dilations, or no two taps along the axis for a dilation to keep apart. */
export function sameDilation(a: Branch, b: Branch): boolean {
  const [extentA, extentB] = [kernelExtent(a.kernel), kernelExtent(b.kernel)];
  return ([0, 1] as const).every(
    (axis) =>
      a.op.dilation[axis] === b.op.dilation[axis] || Math.max(extentA[axis], extentB[axis]) === 1,
  );
}

export function samePair(a: readonly number[], b: readonly number[]): boolean {
  return a.every((value, index) => value === b[index]);
}
