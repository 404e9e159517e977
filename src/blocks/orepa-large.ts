/**
 * OREPA's forms for kernels of 5x5 and larger: (K-1)/2 stacked 3x3 kernels merged into one, each an
 * OREPA kernel (`OREPA_LargeConv`) or a plain parameter (`OREPA_LargeConvBase`).
 * Reference: JUGGHM/OREPA_CVPR2022@3ed037b, blocks.py. It merges by cross-correlation, without the
 * flip that the composition of layers has: a parameterization, not the layers in sequence; so do we.
 */
import type { Scope, Value } from "../graph/index.js";
import type { Block, ConvSpec } from "./block.js";
import { channelsOf, PYTORCH_SLOPE } from "./layers.js";
import { convolveAndNormalise, orepaKernel } from "./orepa.js";

export const orepaLargeBlock: Block = largeBlock("OREPA_LargeConv", (scope, name, inputs, spec) =>
  orepaKernel(scope.child(name), inputs, spec),
);

export const orepaLargeBaseBlock: Block = largeBlock(
  "OREPA_LargeConvBase",
  (scope, name, inputs, { out, kernel, groups }) =>
    scope.param(name, [out, inputs / groups, kernel, kernel], {
      init: { kind: "kaimingUniform", a: PYTORCH_SLOPE },
      decay: "kernel",
    }),
);

type InnerKernel = (
  scope: Scope,
  name: string,
  inputs: number,
  spec: Pick<ConvSpec, "out" | "kernel" | "groups">,
) => Value;

function largeBlock(name: string, innerKernel: InnerKernel): Block {
  return {
    name,
    deployName: "or_large_reparam",
    declines: ({ kernel }) =>
      kernel % 2 === 1 && kernel > 3 ? undefined : "an odd kernel larger than 3",
    branches(scope, x, spec) {
      const layers = (spec.kernel - 1) / 2;
      const inner = { out: spec.out, kernel: 3, groups: spec.groups };
      let merged = innerKernel(scope, "weight0", channelsOf(x), inner);
      for (let layer = 1; layer < layers; layer++) {
        const next = innerKernel(scope, `weight${layer}`, spec.out, inner);
        merged = scope.composeKernels(merged, next, { groups: spec.groups, correlate: true });
      }
      return convolveAndNormalise(scope, x, merged, spec);
    },
  };
}
