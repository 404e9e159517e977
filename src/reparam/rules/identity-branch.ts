/**
 * An identity beside a convolution of the same value, y = x + W * x, is the 1x1 convolution
 * I[o,i] = (o = i), one more branch for rule II.
 */
import { addConvolution, branchOf, Emitter, NO_PADDING } from "../branch.js";
import { notAbsorbable, type Rule } from "../rule.js";
import type { WorkGraph, WorkNode } from "../workgraph.js";

const NAME = "II identity-branch";

export const identityBranch: Rule = {
  name: NAME,
  roots: ["add"],
  preparatory: true,
  look(graph, node) {
    if (node.type.world !== "activation") return undefined;
    const operands = graph.inputs(node);
    const source = operands.find((operand) => readBySibling(graph, node, operands, operand));
    if (source === undefined) return undefined;
    return {
      rewrite() {
        const [channels = 0] = source.type.shape;
        const kernel = new Emitter(graph, node).constant([channels, 1, 1, 1], { kind: "identity" });
        // Only an operand: the block's label stays with the sum.
        const identity = addConvolution(
          graph,
          { ...node, foldName: undefined },
          {
            source,
            kernel,
            bias: undefined,
            geometry: { stride: [1, 1], padding: NO_PADDING, dilation: [1, 1], groups: channels },
            absorbed: [],
            rule: NAME,
          },
        );
        const index = operands.indexOf(source);
        const { foldName, steps, covers } = node;
        return graph.add(node, node.op, operands.with(index, identity), {
          foldName,
          steps,
          covers,
        });
      },
    };
  },
};

function readBySibling(
  graph: WorkGraph,
  node: WorkNode,
  operands: readonly WorkNode[],
  candidate: WorkNode,
): boolean {
  return operands.some((operand) => {
    const branch = operand === candidate ? undefined : branchOf(graph, operand);
    return (
      branch?.source.id === candidate.id &&
      branch.op.stride.every((stride) => stride === 1) &&
      notAbsorbable(graph, operand, node) === undefined
    );
  });
}
