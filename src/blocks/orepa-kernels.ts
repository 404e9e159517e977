/** Kernel expressions that OREPA and OREPA_VGG share. */
import type { Scope, Value } from "../graph/index.js";

/** Depthwise channels per input channel in the separable term. */
export const EXPANSION = 8;

/** 1x1 then KxK within each group: first [T,I/g,1,1], second [O,T/g,K,K] → [O,I/g,K,K]. */
export function sequenceKernel(scope: Scope, first: Value, second: Value, groups: number): Value {
  return scope.composeKernels(first, second, { groups }, "sequence");
}

/**
 * Depthwise KxK with E channels per input, then 1x1, as one dense kernel: dw [I*E,1,K,K],
 * pw [O, I/g*E, 1, 1] → [O, I/g, K, K]. The rows of pw are read interleaved, output o of group c at
 * row o*g + c, as the reference does.
 */
export function separableKernel(scope: Scope, dw: Value, pw: Value, groups: number): Value {
  const [, , kernelH = 0, kernelW = 0] = dw.type.shape;
  const [out = 0, inner = 0] = pw.type.shape;
  const inputs = inner / EXPANSION;
  const depthwise = scope.reshape(dw, [groups, inputs, EXPANSION, kernelH, kernelW]);
  const pointwise = scope.reshape(pw, [out / groups, groups, inputs, EXPANSION]);
  const kernel = scope.einsum("cithw,ocit->coihw", [depthwise, pointwise], "separable");
  return scope.reshape(kernel, [out, inputs, kernelH, kernelW]);
}
