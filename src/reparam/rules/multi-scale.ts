/**
 * Rule VI: a convolution can be written with a larger kernel, zero where it has no taps, and a
 * grouped one with fewer groups (Ding et al., CVPR 2021, eq. 8, there for 1x1 and 1xK in KxK). Brings
 * the branches of a sum, or of a concatenation, to one geometry; geometry.ts shows how taps align.
 */
import { addConvolution, type Branch, Emitter, kernelExtent, samePair } from "../branch.js";
import { commonTaps, gcd, geometryOf, placement, type Taps, tapsOf } from "../geometry.js";
import { type Rule, type Verdict } from "../rule.js";
import type { WorkGraph, WorkNode } from "../workgraph.js";
import { absorbableBranches } from "./parallel.js";

const NAME = "VI multi-scale";

export const multiScale: Rule = {
  name: NAME,
  roots: ["add", "concat"],
  preparatory: true,
  look(graph, node): Verdict {
    if (node.type.world !== "activation") return undefined;
    const branches = absorbableBranches(graph, node);
    for (const first of branches) {
      const siblings = branches.filter(
        ({ source, op }) => source.id === first.source.id && samePair(op.stride, first.op.stride),
      );
      const verdict = unify(graph, node, siblings);
      if (verdict !== undefined) return verdict;
    }
    return undefined;
  },
};

interface Target {
  readonly taps: readonly [Taps, Taps];
  readonly groups: number;
}

function unify(graph: WorkGraph, node: WorkNode, siblings: readonly Branch[]): Verdict {
  // A concatenation folds whole or not at all.
  if (siblings.length < (node.op.kind === "concat" ? node.inputs.length : 2)) return undefined;
  const taps = siblings.map(({ op, kernel }) => tapsOf(op, kernelExtent(kernel)));
  const target: Target = {
    taps: [
      commonTaps(taps.map(([vertical]) => vertical)),
      commonTaps(taps.map(([, horizontal]) => horizontal)),
    ],
    groups: node.op.kind === "concat" ? 1 : siblings.map(({ op }) => op.groups).reduce(gcd, 0),
  };
  const different = [...new Set(siblings)].filter((branch) => !fits(branch, target));
  if (different.length === 0) return undefined;
  return {
    rewrite() {
      const replacements = new Map(
        different.map((branch) => [branch.node.id, enlarge(graph, node, branch, target)]),
      );
      const operands = graph.inputs(node).map((operand) => replacements.get(operand.id) ?? operand);
      const { foldName, steps, covers } = node;
      return graph.add(node, node.op, operands, { foldName, steps, covers });
    },
  };
}

function fits({ op, kernel }: Branch, target: Target): boolean {
  const taps = tapsOf(op, kernelExtent(kernel));
  return (
    op.groups === target.groups &&
    taps.every((axis, index) => {
      const wanted = target.taps[index as 0 | 1];
      const sameStep = axis.step === wanted.step || axis.count === 1;
      return axis.start === wanted.start && axis.count === wanted.count && sameStep;
    })
  );
}

function enlarge(graph: WorkGraph, node: WorkNode, branch: Branch, target: Target): WorkNode {
  const [vertical, horizontal] = tapsOf(branch.op, kernelExtent(branch.kernel));
  const placed = [
    placement(vertical, target.taps[0]),
    placement(horizontal, target.taps[1]),
  ] as const;
  const { kernel: extent, ...geometry } = geometryOf(target.taps);
  const emitter = new Emitter(graph, branch.node);
  const kernel = emitter.embed(branch.kernel, {
    kernel: extent,
    offset: [placed[0].offset, placed[1].offset],
    dilation: [placed[0].dilation, placed[1].dilation],
    groups: { from: branch.op.groups, to: target.groups },
  });
  return addConvolution(graph, branch.node, {
    source: branch.source,
    kernel,
    bias: branch.bias,
    geometry: { stride: branch.op.stride, ...geometry, groups: target.groups },
    absorbed: [],
    rule: NAME,
    firedAt: node,
  });
}
