/**
 * Rule IV: convolutions of the same value and geometry whose outputs are joined in depth are one
 * convolution with their kernels joined (Ding et al., CVPR 2021, eq. 5).
 */
import {
  addConvolution,
  type Branch,
  Emitter,
  kernelExtent,
  sameDilation,
  samePair,
} from "../branch.js";
import { declined, describe, type Rule, type Verdict } from "../rule.js";
import { absorbableBranches } from "./parallel.js";

const NAME = "IV depth-concat";

export const depthConcat: Rule = {
  name: NAME,
  roots: ["concat"],
  look(graph, node) {
    if (node.type.world !== "activation") return undefined;
    const branches = absorbableBranches(graph, node);
    const [first] = branches;
    if (first === undefined || branches.length < node.inputs.length) {
      const other = graph
        .inputs(node)
        .find((operand) => !branches.some(({ node: own }) => own === operand));
      return declined(`its operand ${describe(other ?? node)} is not a convolution of its own`);
    }
    const other = branches.find((branch) => !joinable(first, branch));
    if (other !== undefined) return why(first, other);
    return {
      rewrite() {
        const emitter = new Emitter(graph, node);
        const biased = branches.some(({ bias }) => bias !== undefined);
        const biasOf = ({ bias, kernel }: Branch) =>
          bias ?? emitter.constant(kernel.type.shape.slice(0, 1), { kind: "constant", value: 0 });
        const { stride, padding, dilation, groups } = first.op;
        return addConvolution(graph, node, {
          source: first.source,
          kernel: emitter.concat(...branches.map(({ kernel }) => kernel)),
          bias: biased ? emitter.concat(...branches.map(biasOf)) : undefined,
          geometry: { stride, padding, dilation, groups },
          absorbed: [...new Set(branches.map((branch) => branch.node))],
          rule: NAME,
        });
      },
    };
  },
};

function why(first: Branch, other: Branch): Verdict {
  if (other.source.id !== first.source.id) {
    return declined(
      `its operands read different values, ${describe(first.source)} and ${describe(other.source)}`,
    );
  }
  // Kernels of other geometries are for rule VI.
  if (samePair(first.op.stride, other.op.stride)) return undefined;
  return declined(`strides ${first.op.stride.join("x")} and ${other.op.stride.join("x")} differ`);
}

function joinable(a: Branch, b: Branch): boolean {
  return (
    a.source.id === b.source.id &&
    a.op.groups === 1 &&
    b.op.groups === 1 &&
    samePair(a.op.stride, b.op.stride) &&
    sameDilation(a, b) &&
    samePair(kernelExtent(a.kernel), kernelExtent(b.kernel)) &&
    a.op.padding[0] === b.op.padding[0] &&
    a.op.padding[2] === b.op.padding[2]
  );
}
