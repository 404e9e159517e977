/**
 * RepVGG block (Ding et al., CVPR 2021): KxK-BN + 1x1-BN + BN of the input where shapes allow.
 * RepVGGplus is the same with squeeze-and-excitation after the activation.
 * Reference: DingXiaoH/RepVGG@eae7c52, repvgg.py and repvggplus.py.
 */
import type { Scope, Value } from "../graph/index.js";
import { needs, type Block, type ConvSpec } from "./block.js";
import { customL2 } from "./custom-l2.js";
import { batchNorm, channelsOf, convBn } from "./layers.js";

export const repVggBlock: Block = {
  name: "RepVGG",
  deployName: "rbr_reparam",
  declines: (spec) => needs.oddKernel(spec) ?? needs.samePadding(spec),
  branches(scope, x, spec) {
    const identity = identityBranch(scope, x, spec);
    return scope.add([
      convBn(scope, "rbr_dense", x, spec),
      convBn(scope, "rbr_1x1", x, { ...spec, kernel: 1, padding: 0 }),
      ...identity,
    ]);
  },
  customL2,
};

/** `rbr_identity`, declared first as the reference registers it; empty where shapes differ. */
export function identityBranch(scope: Scope, x: Value, spec: ConvSpec): readonly Value[] {
  const fits = spec.out === channelsOf(x) && spec.stride === 1;
  return fits ? [batchNorm(scope, "rbr_identity", x)] : [];
}
