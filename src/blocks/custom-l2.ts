/**
 * RepVGG's custom L2, a weight decay of what a block is equivalent to: that of the dense kernel K's
 * border, and of the centre C of the sum of dense and 1x1 branch, P being the 1x1 kernel:
 *
 *     sum(K^2) - sum(C^2) + sum((t C + u P)^2 / (t^2 + u^2)),   t, u = gamma / sqrt(var + eps)
 *
 * t and u, one per output of the dense and of the 1x1 branch, are constants to the gradient, so that
 * kernels alone receive any. References: DingXiaoH/RepVGG@eae7c52, repvgg.py, and
 * JUGGHM/OREPA_CVPR2022@3ed037b, blocks_repvgg.py, get_custom_L2.
 */
import { RepkitError } from "../errors.js";
import type { Scope, Value } from "../graph/index.js";

/** `y` = dense branch + 1x1 branch + ..., each of the two a convolution with batch norm. */
export function customL2(scope: Scope, y: Value): Value {
  const [dense, point] = scope.builder.inputsOf(y).map((branch) => normalised(scope, branch));
  if (dense === undefined || point === undefined) {
    throw new RepkitError("internal", `${scope.path}: custom L2 of fewer than two branches`);
  }
  const [out = 0, inputs = 0, height = 0, width = 0] = dense.kernel.type.shape;
  // 1 at the centre: sums pick it out.
  const middle = scope.reshape(scope.constant([1, 1, height, width], { kind: "identity" }), [
    height,
    width,
  ]);
  const centre = scope.einsum("oihw,hw->oi", [dense.kernel, middle]);
  const pointKernel = scope.reshape(point.kernel, [out, inputs]);
  const equivalent = scope.add([
    scope.scale(centre, dense.factor),
    scope.scale(pointKernel, point.factor),
  ]);
  const squares = scope.add([
    scope.mul(dense.factor, dense.factor),
    scope.mul(point.factor, point.factor),
  ]);
  const weighed = scope.scale(equivalent, scope.inverseStd(squares, 0));
  const border = scope.sub(
    scope.einsum("oihw,oihw->", [dense.kernel, dense.kernel]),
    scope.einsum("oi,oi->", [centre, centre]),
  );
  return scope.add([border, scope.einsum("oi,oi->", [weighed, weighed])], "customL2");
}

/** Kernel and detached factor, gamma / sqrt(var + eps), of a convolution with batch norm. */
function normalised(scope: Scope, branch: Value): { kernel: Value; factor: Value } | undefined {
  const [conv, gamma, , , variance] = scope.builder.inputsOf(branch);
  if (branch.op.kind !== "batchNorm" || conv?.op.kind !== "conv2d") return undefined;
  const [, kernel] = scope.builder.inputsOf(conv);
  const factor = scope.mul(gamma!, scope.inverseStd(variance!, branch.op.eps));
  return { kernel: kernel!, factor: scope.detach(factor) };
}
