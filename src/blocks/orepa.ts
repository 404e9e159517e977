/**
 * OREPA (Hu et al., CVPR 2022): the branches are folded during training. One convolution per block,
 * whose kernel is an expression over the branches' weights, each scaled per output channel by a row
 * of `vector`; then one batch norm. Reference: JUGGHM/OREPA_CVPR2022@3ed037b, blocks.py.
 */
import type { Scope, Value } from "../graph/index.js";
import { needs, type Block, type ConvSpec } from "./block.js";
import { batchNorm, channelsOf } from "./layers.js";
import { EXPANSION, separableKernel, sequenceKernel } from "./orepa-kernels.js";

export interface OrepaOptions {
  /** Width between the two convolutions of the 1x1→KxK term. Default: I, or 2I with more than 4 groups. */
  readonly innerChannels?: number;
  /** Start as the plain kernel alone: row 0 of `vector` 1, the others 0. */
  readonly singleInit?: boolean;
}

/** Rows of `vector`: origin, average, prior, 1x1→KxK, 1x1, separable. */
const INITIAL_SCALES = [0.25, 0.25, 0, 0.5, 1, 0.5] as const;

export function orepaBlock(options: OrepaOptions = {}): Block {
  return {
    name: "OREPA",
    deployName: "orepa_reparam",
    declines(spec) {
      const { innerChannels = spec.groups } = options;
      return innerChannels >= 1 && innerChannels % spec.groups === 0
        ? needs.oddKernel(spec)
        : `innerChannels a multiple of groups (=${spec.groups}), not ${innerChannels}`;
    },
    branches: (scope, x, spec) =>
      convolveAndNormalise(scope, x, orepaKernel(scope, channelsOf(x), spec, options), spec),
  };
}

/** One convolution with a computed kernel, then batch norm. */
export function convolveAndNormalise(scope: Scope, x: Value, kernel: Value, spec: ConvSpec): Value {
  const { stride, padding, dilation, groups } = spec;
  const y = scope.conv2d(x, kernel, undefined, { stride, padding, dilation, groups });
  return batchNorm(scope, "bn", y);
}

/**
 * Declares OREPA's weights in `scope` and returns the kernel [O, I/groups, K, K] that they make:
 * v0∘origin + v1∘(avg ⊗ 1/K²) + v4∘(1x1 at the centre) + v3∘(1x1→KxK) + v2∘(pfir ⊗ prior) + v5∘separable.
 */
export function orepaKernel(
  scope: Scope,
  inChannels: number,
  spec: Pick<ConvSpec, "out" | "kernel" | "groups">,
  options: OrepaOptions = {},
): Value {
  const { out, kernel: k, groups } = spec;
  const perGroup = inChannels / groups;
  const inner = options.innerChannels ?? (groups <= 4 ? inChannels : 2 * inChannels);
  const weight = (name: string, shape: readonly number[]) =>
    scope.param(`weight_orepa_${name}`, shape, {
      init: { kind: "kaimingUniform", a: 0 },
      decay: "kernel",
    });
  const point = [out, perGroup, 1, 1];
  const origin = weight("origin", [out, perGroup, k, k]);
  const avg = weight("avg_conv", point);
  const pfir = weight("pfir_conv", point);
  const centre = weight("1x1", point);
  const first = scope.param("weight_orepa_1x1_kxk_idconv1", [inner, perGroup, 1, 1], {
    init: { kind: "constant", value: 0 },
    decay: "kernel",
  });
  const second = weight("1x1_kxk_conv2", [out, inner / groups, k, k]);
  const depthwise = weight("gconv_dw", [inChannels * EXPANSION, 1, k, k]);
  const pointwise = weight("gconv_pw", [out, perGroup * EXPANSION, 1, 1]);
  const vector = scope.param("vector", [INITIAL_SCALES.length, out], {
    init: {
      kind: "rows",
      values: options.singleInit === true ? [1, 0, 0, 0, 0, 0] : INITIAL_SCALES,
    },
    decay: "branchScale",
  });
  const average = scope.buffer("weight_orepa_avg_avg", [k, k], {
    kind: "constant",
    value: 1 / k ** 2,
  });
  const identity = scope.buffer("id_tensor", [inner, perGroup, 1, 1], { kind: "identity" });
  const prior = scope.buffer("weight_orepa_prior", [out, k, k], { kind: "frequencyPrior" });

  const scaled = (kernel: Value, row: number) => scope.scale(kernel, scope.select(vector, row));
  const matrix = (w: Value) => scope.reshape(w, [out, perGroup]);
  const middle = k >> 1;
  return scope.add([
    scaled(origin, 0),
    scaled(scope.einsum("oi,hw->oihw", [matrix(avg), average]), 1),
    scaled(scope.embed(centre, { kernel: [k, k], offset: [middle, middle] }), 4),
    scaled(sequenceKernel(scope, scope.add([first, identity]), second, groups), 3),
    scaled(scope.einsum("oi,ohw->oihw", [matrix(pfir), prior]), 2),
    scaled(separableKernel(scope, depthwise, pointwise, groups), 5),
  ]);
}
