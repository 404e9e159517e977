/**
 * Rule I for DBB's BNAndPad: a batch norm whose border holds BN(0) after a 1x1 convolution without
 * bias is that convolution *with padding*, since it makes 0 of the zeros outside the image:
 *
 *     1x1, then BN with border 1:  1234 → p1'2'3'4'p,   p = BN(0) = beta - mean * gamma / sqrt(var + eps) = b'
 */
import type { Padding } from "../../graph/index.js";
import { branchOf, isZero, kernelExtent } from "../branch.js";
import { declined, describe, notAbsorbable, type Rule } from "../rule.js";
import { asOp } from "../workgraph.js";
import { foldBatchNorm } from "./conv-batchnorm.js";

const NAME = "I padded-batchnorm";

export const paddedBatchNorm: Rule = {
  name: NAME,
  roots: ["batchNorm"],
  look(graph, node) {
    const norm = asOp(node, "batchNorm");
    if (norm === undefined || isZero(norm.op.pad)) return undefined;
    const inner = graph.input(norm, 0);
    const branch = branchOf(graph, inner);
    if (branch === undefined) {
      return declined(`its input is ${describe(inner)}, not a convolution`);
    }
    const [height, width] = kernelExtent(branch.kernel);
    const { stride, padding } = branch.op;
    if (height !== 1 || width !== 1) {
      return declined(`the kernel ${height}x${width} reaches from the border into the image`);
    }
    if (stride[0] !== 1 || stride[1] !== 1) return declined("the convolution has a stride");
    if (padding.some((side) => side < 0)) return declined("the convolution crops its input");
    if (branch.bias !== undefined) {
      return declined("the convolution has a bias, which the border BN(0) does not contain");
    }
    const reason = notAbsorbable(graph, inner, node);
    if (reason !== undefined) return declined(reason);
    const [top, bottom, left, right] = norm.op.pad;
    const padded: Padding = [
      padding[0] + top,
      padding[1] + bottom,
      padding[2] + left,
      padding[3] + right,
    ];
    const geometry = { ...branch.op, padding: padded };
    return { rewrite: () => foldBatchNorm(graph, norm, branch, { geometry, rule: NAME }) };
  },
};
