/** A sum of sums is one sum, a concatenation of concatenations one concatenation. */
import { notAbsorbable, type Rule } from "../rule.js";

export const nestedSum: Rule = {
  name: "II nested-sum",
  roots: ["add", "concat"],
  look(graph, node) {
    if (node.type.world !== "activation") return undefined;
    const operands = graph.inputs(node);
    const isInner = (operand: (typeof operands)[number]) =>
      operand.op.kind === node.op.kind && notAbsorbable(graph, operand, node) === undefined;
    const inner = operands.find(isInner);
    if (inner === undefined) return undefined;
    return {
      rewrite: () =>
        graph.add(
          node,
          node.op,
          operands.flatMap((operand) => (operand === inner ? graph.inputs(inner) : [operand])),
          {
            foldName: node.foldName,
            covers: new Set([...inner.covers, ...node.covers]),
            steps: [...inner.steps, ...node.steps],
          },
        ),
    };
  },
};
