/**
 * Rule V: average pooling is a depthwise convolution with the constant kernel 1/(h w), where every
 * window divides by its whole area (Ding et al., CVPR 2021, eq. 7).
 */
import { addConvolution, Emitter, isZero } from "../branch.js";
import { declined, type Rule } from "../rule.js";
import { asOp } from "../workgraph.js";

const NAME = "V average-pool";

export const averagePool: Rule = {
  name: NAME,
  roots: ["avgPool"],
  preparatory: true,
  look(graph, node) {
    const pool = asOp(node, "avgPool");
    if (pool === undefined) return undefined;
    const { kernel, stride, padding, countIncludePad } = pool.op;
    if (!countIncludePad && !isZero(padding)) {
      return declined("windows at the border divide by fewer pixels than those inside");
    }
    const source = graph.input(pool, 0);
    return {
      rewrite() {
        const [channels = 0] = source.type.shape;
        const mean = { kind: "constant", value: 1 / (kernel[0] * kernel[1]) } as const;
        return addConvolution(graph, node, {
          source,
          kernel: new Emitter(graph, node).constant([channels, 1, ...kernel], mean),
          bias: undefined,
          geometry: { stride, padding, dilation: [1, 1], groups: channels },
          absorbed: [],
          rule: NAME,
        });
      },
    };
  },
};
