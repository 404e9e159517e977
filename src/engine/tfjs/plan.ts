/** The order in which the nodes of a graph run, which of them are differentiated, and how kernels lie. */
import type { Graph, Node } from "../../graph/index.js";

export interface Plan {
  readonly graph: Graph;
  /** Over parameters alone, before the activations that read them. */
  readonly weights: readonly Node[];
  readonly activations: readonly Node[];
  /**
   * Weights that outputs alone need (penalties), after the activations: running statistics are this
   * step's there, as in the reference, which evaluates its penalty after the forward pass.
   */
  readonly penalties: readonly Node[];
  /** Per node id, the activations that nothing reads after it. */
  readonly release: ReadonlyMap<number, readonly number[]>;
  /** Kernels that convolutions alone read: they are kept as H,W,I,O, as TensorFlow wants them. */
  readonly kernels: ReadonlySet<number>;
}

/** `keep`: ids whose values are wanted beside the outputs. */
export function makePlan(graph: Graph, keep: readonly number[] = []): Plan {
  const wanted = [...graph.outputs.map(({ value }) => value), ...keep];
  const needed = reachable(graph, wanted);
  const isActivation = ({ type }: Node) => type.world === "activation";
  const nodes = graph.nodes.filter(({ id, op }) => needed.has(id) && op.kind !== "param");
  const activations = nodes.filter(isActivation);
  const early = reachable(
    graph,
    activations.map(({ id }) => id),
  );
  const weights = nodes.filter((node) => !isActivation(node));
  return {
    graph,
    weights: weights.filter(({ id }) => early.has(id)),
    activations,
    penalties: weights.filter(({ id }) => !early.has(id)),
    release: releases(graph, activations, new Set(wanted)),
    kernels: kernelsOf(graph),
  };
}

/** The nodes that a change of one of `sources` reaches with a gradient. */
export function differentiated(graph: Graph, sources: ReadonlySet<number>): ReadonlySet<number> {
  const found = new Set(sources);
  for (const { id, op, inputs } of graph.nodes) {
    if (op.kind === "detach") continue;
    // Running statistics are read without gradient.
    const read = op.kind === "batchNorm" ? inputs.slice(0, 3) : inputs;
    if (read.some((input) => found.has(input))) found.add(id);
  }
  return found;
}

function releases(
  graph: Graph,
  activations: readonly Node[],
  kept: ReadonlySet<number>,
): ReadonlyMap<number, readonly number[]> {
  const seen = new Set(kept);
  const result = new Map<number, readonly number[]>();
  for (const { id, inputs } of activations.toReversed()) {
    const last = [...new Set(inputs)].filter(
      (input) => !seen.has(input) && graph.nodes[input]!.type.world === "activation",
    );
    for (const input of last) seen.add(input);
    if (last.length > 0) result.set(id, last);
  }
  return result;
}

function kernelsOf(graph: Graph): ReadonlySet<number> {
  const kernels = new Set<number>();
  const others = new Set<number>(graph.outputs.map(({ value }) => value));
  for (const { op, inputs } of graph.nodes) {
    for (const [position, input] of inputs.entries()) {
      const isKernel = op.kind === "conv2d" && position === 1;
      if (isKernel && graph.nodes[input]!.op.kind === "param") kernels.add(input);
      else others.add(input);
    }
  }
  return new Set([...kernels].filter((id) => !others.has(id)));
}

function reachable(graph: Graph, wanted: readonly number[]): ReadonlySet<number> {
  const needed = new Set(wanted);
  for (const node of graph.nodes.toReversed()) {
    if (needed.has(node.id)) for (const input of node.inputs) needed.add(input);
  }
  return needed;
}
