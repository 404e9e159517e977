/**
 * The convolution that a block is equivalent to, as expressions over its parameters: differentiable,
 * so that a penalty, a quantizer or a pruning mask can act on the deployed weights while training.
 */
import { usageError } from "../errors.js";
import { type Graph, type Node, type OpOf } from "../graph/index.js";
import { unknownName } from "../util/suggest.js";
import { foldGraph } from "./fold.js";

export interface EquivalentConvolution {
  /** Weights only, no input; its outputs are `weight` [O,I,H,W] and, where there is one, `bias` [O]. */
  readonly graph: Graph;
  /** Stride, padding, dilation and groups of the convolution. */
  readonly op: OpOf<"conv2d">;
}

/**
 * The equivalent kernel and bias of the block in `scope` (`stage1.0.conv1`), whose batch norms use
 * their running statistics. Throws a "usage" error where no block of that scope folds to one
 * convolution, naming the nearest that does.
 */
export function equivalentKernel(graph: Graph, scope: string): EquivalentConvolution {
  const folded = foldGraph(graph);
  const blocks = new Map<string, Node>();
  for (const { convolution } of folded.groups) {
    const node = folded.graph.nodes[convolution];
    if (node?.foldName === undefined) continue;
    blocks.set(node.foldName.slice(0, Math.max(0, node.foldName.lastIndexOf("."))), node);
  }
  const found = blocks.get(scope);
  if (found?.op.kind !== "conv2d")
    throw usageError(unknownName("block", scope, [...blocks.keys()]));
  const [, weight = -1, bias] = found.inputs;
  const outputs = bias === undefined ? { weight } : { weight, bias };
  return { graph: weightsOnly(folded.graph, outputs), op: found.op };
}

/** The part of a graph that the given weights depend on. */
function weightsOnly(graph: Graph, outputs: Readonly<Record<string, number>>): Graph {
  const needed = new Set(Object.values(outputs));
  for (let id = graph.nodes.length - 1; id >= 0; id--) {
    if (needed.has(id)) for (const input of graph.nodes[id]?.inputs ?? []) needed.add(input);
  }
  const kept = graph.nodes.filter(({ id }) => needed.has(id));
  const positions = new Map(kept.map(({ id }, position) => [id, position]));
  const at = (id: number) => positions.get(id) ?? -1;
  return {
    nodes: kept.map((node, id) => ({ ...node, id, inputs: node.inputs.map(at) })),
    outputs: Object.entries(outputs).map(([name, value]) => ({ name, value: at(value) })),
  };
}
