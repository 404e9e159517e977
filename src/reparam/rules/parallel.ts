/**
 * Rule II: convolutions of the same value and geometry that are added are one convolution
 * (Ding et al., CVPR 2021, eq. 3): W' = W1 + W2 + ..., b' = b1 + b2 + ...
 */
import {
  addConvolution,
  type Branch,
  branchOf,
  Emitter,
  kernelExtent,
  sameDilation,
  samePair,
} from "../branch.js";
import { declined, describe, notAbsorbable, type Rule, type Verdict } from "../rule.js";
import type { WorkGraph, WorkNode } from "../workgraph.js";

const NAME = "II parallel";

export const parallel: Rule = {
  name: NAME,
  roots: ["add"],
  look(graph, node) {
    if (node.type.world !== "activation") return undefined;
    const branches = absorbableBranches(graph, node);
    for (const first of branches) {
      const alike = branches.filter((branch) => sameGeometry(first, branch));
      if (alike.length > 1) return { rewrite: () => merge(graph, node, alike) };
    }
    return why(graph, node, branches);
  },
};

/** The convolutions that the node alone uses, in the order of its operands, repeats included. */
export function absorbableBranches(graph: WorkGraph, node: WorkNode): readonly Branch[] {
  return graph.inputs(node).flatMap((operand) => {
    const branch = branchOf(graph, operand);
    return branch !== undefined && notAbsorbable(graph, operand, node) === undefined
      ? [branch]
      : [];
  });
}

function sameGeometry(a: Branch, b: Branch): boolean {
  return (
    a.source.id === b.source.id &&
    a.op.groups === b.op.groups &&
    samePair(a.op.stride, b.op.stride) &&
    sameDilation(a, b) &&
    samePair(kernelExtent(a.kernel), kernelExtent(b.kernel)) &&
    // With a stride, different padding after the image can mean the same windows.
    a.op.padding[0] === b.op.padding[0] &&
    a.op.padding[2] === b.op.padding[2]
  );
}

function merge(graph: WorkGraph, node: WorkNode, alike: readonly Branch[]): WorkNode {
  const emitter = new Emitter(graph, node);
  const [first] = alike as [Branch];
  const rest = graph
    .inputs(node)
    .filter((operand) => !alike.some((branch) => branch.node === operand));
  const whole = rest.length === 0;
  const merged = addConvolution(graph, whole ? node : { ...node, foldName: undefined }, {
    source: first.source,
    kernel: emitter.add(...alike.map(({ kernel }) => kernel)),
    bias: emitter.addBiases(alike.map(({ bias }) => bias)),
    geometry: geometryOf(first),
    absorbed: [...new Set(alike.map((branch) => branch.node))],
    rule: NAME,
  });
  if (whole) return merged;
  const { foldName, steps } = node;
  return graph.add(node, node.op, [merged, ...rest], { foldName, steps });
}

function geometryOf({ op: { stride, padding, dilation, groups } }: Branch) {
  return { stride, padding, dilation, groups };
}

function why(graph: WorkGraph, node: WorkNode, branches: readonly Branch[]): Verdict {
  for (const operand of graph.inputs(node)) {
    if (branchOf(graph, operand) === undefined) {
      return declined(`its operand ${describe(operand)} is not a convolution`);
    }
    const reason = notAbsorbable(graph, operand, node);
    if (reason !== undefined) return declined(reason);
  }
  const [a, b] = branches;
  if (a === undefined || b === undefined) return undefined;
  if (a.source.id !== b.source.id) {
    return declined(
      `its operands read different values, ${describe(a.source)} and ${describe(b.source)}`,
    );
  }
  // Kernels of other geometries are for rule VI.
  if (samePair(a.op.stride, b.op.stride)) return undefined;
  return declined(`strides ${a.op.stride.join("x")} and ${b.op.stride.join("x")} differ`);
}
