/**
 * Asymmetric Convolution Block (Ding et al., ACNet, ICCV 2019): KxK + Kx1 + 1xK, each with batch norm.
 * Reference: DingXiaoH/DiverseBranchBlock@8d2b16b, acb.py.
 */
import type { Padding, Scope, Value } from "../graph/index.js";
import type { Block, ConvSpec } from "./block.js";
import { needs } from "./block.js";
import { batchNorm, conv } from "./layers.js";

export interface AcbOptions {
  /** What every branch's gamma starts at; the reference's `reduce_gamma` is 1/3. */
  readonly gamma?: number;
  /** Start as the KxK branch alone: its gamma 1, the others' 0. */
  readonly singleInit?: boolean;
}

export function acbBlock({ gamma = 1, singleInit = false }: AcbOptions = {}): Block {
  return {
    name: "ACB",
    deployName: "fused_conv",
    declines: needs.oddKernel,
    branches: (scope, x, spec) => branches(scope, x, spec, gamma, singleInit ? 0 : gamma),
  };
}

function branches(
  scope: Scope,
  x: Value,
  spec: ConvSpec,
  squareGamma: number,
  lineGamma: number,
): Value {
  const { kernel, padding, dilation } = spec;
  // The windows of all branches must share their centres (figure 2 of the paper). Along the axis in
  // which a branch has no extent its padding shrinks by the reach of the square kernel; below zero
  // it crops.
  const aligned = padding - dilation * (kernel >> 1);
  const vertical: Padding = [padding, padding, aligned, aligned];
  const horizontal: Padding = [aligned, aligned, padding, padding];
  const squareConv = conv(scope, "square_conv", x, spec);
  const square = batchNorm(scope, "square_bn", squareConv, { gamma: squareGamma });
  const lineConvs = [
    conv(scope, "ver_conv", x, { ...spec, kernel: [kernel, 1], padding: vertical }),
    conv(scope, "hor_conv", x, { ...spec, kernel: [1, kernel], padding: horizontal }),
  ] as const;
  return scope.add([
    square,
    batchNorm(scope, "ver_bn", lineConvs[0], { gamma: lineGamma }),
    batchNorm(scope, "hor_bn", lineConvs[1], { gamma: lineGamma }),
  ]);
}
