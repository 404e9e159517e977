/**
 * Rule I for a batch norm without a convolution (RepVGG's identity branch): it is the batch norm of
 * the depthwise 1x1 identity convolution. A border of BN(0) is that convolution's padding.
 */
import { branchOf, Emitter } from "../branch.js";
import type { Rule } from "../rule.js";
import { asOp } from "../workgraph.js";
import { foldBatchNorm } from "./conv-batchnorm.js";

const NAME = "I batchnorm-alone";

export const batchNormAlone: Rule = {
  name: NAME,
  roots: ["batchNorm"],
  preparatory: true,
  look(graph, node) {
    const norm = asOp(node, "batchNorm");
    if (norm === undefined) return undefined;
    const source = graph.input(norm, 0);
    if (branchOf(graph, source) !== undefined && graph.usedOnlyBy(source, node)) return undefined;
    return {
      rewrite() {
        const [channels = 0] = source.type.shape;
        const kernel = new Emitter(graph, node).constant([channels, 1, 1, 1], { kind: "identity" });
        const geometry = {
          stride: [1, 1],
          padding: norm.op.pad,
          dilation: [1, 1],
          groups: channels,
        } as const;
        const branch = { source, kernel, bias: undefined };
        return foldBatchNorm(graph, norm, branch, { geometry, rule: NAME });
      },
    };
  },
};
