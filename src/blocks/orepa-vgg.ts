/**
 * OREPA_VGG: a RepVGG block whose dense branch is an OREPA kernel of five terms.
 * Reference: JUGGHM/OREPA_CVPR2022@3ed037b, blocks_repvgg.py, RepVGGBlock_OREPA.
 */
import type { Scope, Value } from "../graph/index.js";
import { needs, type Block, type ConvSpec } from "./block.js";
import { customL2 } from "./custom-l2.js";
import { channelsOf, convBn } from "./layers.js";
import { EXPANSION, separableKernel, sequenceKernel } from "./orepa-kernels.js";
import { convolveAndNormalise } from "./orepa.js";
import { identityBranch } from "./repvgg.js";

/** Rows of `vector`: origin, average, prior, 1x1→KxK, separable. */
const INITIAL_SCALES = [0.25, 0.25, 0, 0.5, 0.5] as const;

export const orepaVggBlock: Block = {
  name: "OREPA_VGG",
  deployName: "rbr_reparam",
  declines: (spec) =>
    (spec.groups === 1 ? undefined : "groups 1") ??
    needs.oddKernel(spec) ??
    needs.samePadding(spec),
  branches(scope, x, spec) {
    const identity = identityBranch(scope, x, spec);
    const dense = scope.child("rbr_dense");
    const kernel = denseKernel(dense, channelsOf(x), spec, identity.length > 0);
    return scope.add([
      convolveAndNormalise(dense, x, kernel, spec),
      convBn(scope, "rbr_1x1", x, { ...spec, kernel: 1, padding: 0 }),
      ...identity,
    ]);
  },
  customL2,
};

/** v0∘origin + v1∘(avg ⊗ 1/K²) + v3∘(1x1→KxK) + v2∘(pfir ⊗ prior) + v4∘separable. */
function denseKernel(
  scope: Scope,
  inChannels: number,
  { out, kernel: k }: ConvSpec,
  hasIdentity: boolean,
): Value {
  const weight = (name: string, shape: readonly number[]) =>
    scope.param(`weight_rbr_${name}`, shape, {
      init: { kind: "kaimingUniform", a: 1 },
      decay: "kernel",
    });
  const origin = weight("origin", [out, inChannels, k, k]);
  const avg = weight("avg_conv", [out, inChannels, 1, 1]);
  const pfir = weight("pfir_conv", [out, inChannels, 1, 1]);
  const first = scope.param("weight_rbr_1x1_kxk_idconv1", [inChannels, inChannels, 1, 1], {
    init: { kind: "constant", value: 0 },
    decay: "kernel",
  });
  const second = weight("1x1_kxk_conv2", [out, inChannels, k, k]);
  const depthwise = weight("gconv_dw", [inChannels * EXPANSION, 1, k, k]);
  const pointwise = weight("gconv_pw", [out, inChannels * EXPANSION, 1, 1]);
  // Beside an identity branch the reference has a sixth row, which nothing reads; it starts here at
  // zero, there as uninitialised memory.
  const scales = hasIdentity ? [...INITIAL_SCALES, 0] : INITIAL_SCALES;
  const vector = scope.param("vector", [scales.length, out], {
    init: { kind: "rows", values: scales },
    decay: "branchScale",
  });
  const average = scope.buffer("weight_rbr_avg_avg", [k, k], {
    kind: "constant",
    value: 1 / k ** 2,
  });
  const identity = scope.buffer("id_tensor", first.type.shape, { kind: "identity" });
  const prior = scope.buffer("weight_rbr_prior", [out, k, k], { kind: "frequencyPrior" });

  const scaled = (kernel: Value, row: number) => scope.scale(kernel, scope.select(vector, row));
  const matrix = (w: Value) => scope.reshape(w, [out, inChannels]);
  return scope.add([
    scaled(origin, 0),
    scaled(scope.einsum("oi,hw->oihw", [matrix(avg), average]), 1),
    scaled(sequenceKernel(scope, scope.add([first, identity]), second, 1), 3),
    scaled(scope.einsum("oi,ohw->oihw", [matrix(pfir), prior]), 2),
    scaled(separableKernel(scope, depthwise, pointwise, 1), 4),
  ]);
}
