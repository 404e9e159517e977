/**
 * Rule I: a convolution and its batch norm are one convolution (Ding et al., CVPR 2021, eq. 2):
 *
 *     W'[o] = W[o] * gamma[o] / sqrt(var[o] + eps)
 *     b'[o] = beta[o] + (b[o] - mean[o]) * gamma[o] / sqrt(var[o] + eps)
 */
import type { OpOf } from "../../graph/index.js";
import { addConvolution, type Branch, branchOf, Emitter } from "../branch.js";
import { isZero } from "../branch.js";
import { declined, describe, notAbsorbable, type Rule } from "../rule.js";
import { asOp, type WorkGraph, type WorkNode } from "../workgraph.js";

const NAME = "I conv-batchnorm";

export const convBatchNorm: Rule = {
  name: NAME,
  roots: ["batchNorm"],
  look(graph, node) {
    const norm = asOp(node, "batchNorm");
    if (norm === undefined || !isZero(norm.op.pad)) return undefined;
    const inner = graph.input(norm, 0);
    const branch = branchOf(graph, inner);
    if (branch === undefined) {
      return declined(`its input is ${describe(inner)}, not a convolution`);
    }
    const reason = notAbsorbable(graph, inner, node);
    if (reason !== undefined) return declined(reason);
    return {
      rewrite: () => foldBatchNorm(graph, norm, branch, { geometry: branch.op, rule: NAME }),
    };
  },
};

/** Puts the convolution that normalises by itself in the place of `norm`. */
export function foldBatchNorm(
  graph: WorkGraph,
  norm: WorkNode<OpOf<"batchNorm">>,
  { source, kernel, bias, node }: Pick<Branch, "source" | "kernel" | "bias"> & { node?: WorkNode },
  { geometry, rule }: { geometry: Omit<OpOf<"conv2d">, "kind">; rule: string },
): WorkNode {
  const [, gamma, beta, mean, variance] = graph.inputs(norm) as [
    WorkNode,
    WorkNode,
    WorkNode,
    WorkNode,
    WorkNode,
  ];
  const emitter = new Emitter(graph, norm);
  const factor = emitter.batchNormScale(gamma, variance, norm.op.eps);
  const shifted =
    bias === undefined
      ? emitter.sub(beta, emitter.scale(mean, factor))
      : emitter.add(beta, emitter.scale(emitter.sub(bias, mean), factor));
  const { stride, padding, dilation, groups } = geometry;
  return addConvolution(graph, norm, {
    source,
    kernel: emitter.scale(kernel, factor),
    bias: shifted,
    geometry: { stride, padding, dilation, groups },
    absorbed: node === undefined ? [] : [node],
    rule,
  });
}
