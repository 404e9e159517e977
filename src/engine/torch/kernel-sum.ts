/**
 * OREPA's kernel is a sum of expressions, each scaled per output channel. ATen would compute it term by
 * term, at the price of half a training step; the addon has one op for the whole (native/torch/kernel_sum.h).
 */
import type { Node, OpOf } from "../../graph/index.js";
import type { Draft, Lowering } from "./lower.js";

/** A sum of at least two scaled kernels as one step; undefined where the node is something else. */
export function sumOfKernels(lowering: Lowering, root: Node): Draft | undefined {
  if (root.op.kind !== "add" || root.type.shape.length !== 4 || root.inputs.length < 2) {
    return undefined;
  }
  const dense: number[] = [];
  const outer: number[] = [];
  const separable: number[] = [];
  const swallowed: number[] = [];
  for (const input of root.inputs) {
    const scaled = lowering.node(input);
    if (scaled.op.kind !== "scale" || !lowering.isOwn(input)) return undefined;
    swallowed.push(input);
    const [kernel = -1, scale = -1] = scaled.inputs;
    const term = lowering.node(kernel);
    const own = lowering.isOwn(kernel);
    const outerInputs = own ? outerTerm(lowering, term) : undefined;
    const separableNodes = own ? separableTerm(lowering, term) : undefined;
    if (outerInputs !== undefined) {
      outer.push(...outerInputs, scale);
      swallowed.push(kernel);
    } else if (separableNodes !== undefined) {
      const [reshaped, product] = separableNodes;
      const [depth = -1, points = -1] = product.inputs;
      separable.push(points, depth, scale);
      swallowed.push(reshaped.id, product.id);
    } else {
      dense.push(kernel, scale);
    }
  }
  if (dense.length === 0) return undefined;
  for (const id of swallowed) lowering.fused.add(id);
  return {
    kind: "kernelSum",
    output: root.id,
    inputs: [...dense, ...outer, ...separable],
    denseTerms: dense.length / 2,
    outerTerms: outer.length / 3,
  };
}

/** [points, pattern] of a 1x1 kernel spread over a constant pattern. */
function outerTerm(lowering: Lowering, term: Node): [number, number] | undefined {
  const [points = -1, pattern = -1] = term.inputs;
  if (term.op.kind === "einsum") {
    const spreads = term.op.equation === "oi,hw->oihw" || term.op.equation === "oi,ohw->oihw";
    return spreads && isConstant(lowering.node(pattern)) ? [points, pattern] : undefined;
  }
  if (term.op.kind !== "embed" || !isPointAmongTaps(term.op, lowering.node(points)))
    return undefined;
  const [height, width] = term.op.kernel;
  const taps = new Float64Array(height * width);
  taps[term.op.offset[0] * width + term.op.offset[1]] = 1;
  return [points, lowering.constant({ shape: [height, width], data: taps })];
}

function isPointAmongTaps({ groups }: OpOf<"embed">, { type: { shape } }: Node): boolean {
  return groups.from === groups.to && shape[2] === 1 && shape[3] === 1;
}

function isConstant({ op }: Node): boolean {
  return op.kind === "constant" || (op.kind === "param" && op.role === "buffer");
}

/** The reshaping and the product of a depthwise kernel with a 1x1, ungrouped (src/blocks/orepa-kernels.ts). */
function separableTerm(lowering: Lowering, term: Node): [Node, Node] | undefined {
  if (term.op.kind !== "reshape" || !lowering.isOwn(term.inputs[0]!)) return undefined;
  const product = lowering.node(term.inputs[0]!);
  if (product.op.kind !== "einsum" || product.op.equation !== "cithw,ocit->coihw") return undefined;
  return product.type.shape[0] === 1 ? [term, product] : undefined;
}
