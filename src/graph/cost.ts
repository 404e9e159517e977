/** What a graph costs to run. */
import { elementCount } from "./tensor.js";
import type { Graph, Node } from "./types.js";

/**
 * Multiply-adds of one node for one image: those of convolutions and linear layers, the usual count.
 * Batch norm, pooling, activations and weight expressions (evaluated once per step) count nothing.
 */
export function nodeMacs(graph: Graph, node: Node): number {
  if (node.op.kind !== "conv2d" && node.op.kind !== "linear") return 0;
  const weight = graph.nodes[node.inputs[1] ?? -1];
  if (weight === undefined) return 0;
  // Each output value is one dot product with the weights of its output channel.
  const perValue = elementCount(weight.type.shape.slice(1));
  return elementCount(node.type.shape) * perValue;
}

/** Multiply-adds for one image. */
export function graphMacs(graph: Graph): number {
  return graph.nodes.reduce((sum, node) => sum + nodeMacs(graph, node), 0);
}
