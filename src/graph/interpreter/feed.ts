/** Parts of a graph, and graphs for images of another size, without building them anew. */
import type { Graph, Node } from "../types.js";

/**
 * The graph with the value of a node given from outside, as a batch of images [N,...shape] of any size: for the
 * interpreter alone, which takes shapes from values. The types behind it stay those of the original size.
 */
export function feedImages({ nodes, outputs }: Graph, id: number, shape: readonly number[]): Graph {
  const [channels = 0] = shape;
  const each = (value: number) => Array.from({ length: channels }, () => value);
  const source: Node = {
    ...nodes[id]!,
    op: { kind: "input", shape, mean: each(0), std: each(1) },
    inputs: [],
  };
  return { nodes: nodes.with(id, source), outputs };
}
