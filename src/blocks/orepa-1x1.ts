/**
 * OREPA's form for 1x1 convolutions: one kernel plus the product of two, each scaled per output
 * channel. Reference: JUGGHM/OREPA_CVPR2022@3ed037b, blocks.py, OREPA_1x1.
 */
import type { Initialiser, Scope, Value } from "../graph/index.js";
import type { Block } from "./block.js";
import { channelsOf } from "./layers.js";
import { convolveAndNormalise } from "./orepa.js";

export interface Orepa1x1Options {
  /** Start as the plain kernel alone: row 0 of `vector` 1, row 1 zero. */
  readonly singleInit?: boolean;
}

export function orepa1x1Block({ singleInit = false }: Orepa1x1Options = {}): Block {
  return {
    name: "OREPA_1x1",
    deployName: "or1x1_reparam",
    declines({ kernel, groups }) {
      if (kernel !== 1) return "a 1x1 kernel";
      return groups === 1 ? undefined : "groups 1";
    },
    branches: (scope, x, spec) =>
      convolveAndNormalise(scope, x, kernelOf(scope, channelsOf(x), spec.out, singleInit), spec),
  };
}

/** v0∘origin + v1∘(conv2 · conv1); the one of the two that is square starts as the identity. */
function kernelOf(scope: Scope, inChannels: number, out: number, singleInit: boolean): Value {
  const random: Initialiser = { kind: "kaimingUniform", a: 1 };
  const identity: Initialiser = { kind: "identity" };
  const weight = (name: string, o: number, i: number, init: Initialiser) =>
    scope.param(`weight_or1x1_${name}`, [o, i, 1, 1], { init, decay: "kernel" });
  const origin = weight("origin", out, inChannels, random);
  const expands = out > inChannels;
  const inner = expands ? inChannels : out;
  const first = weight("l2i_conv1", inner, inChannels, expands ? identity : random);
  const second = weight("l2i_conv2", out, inner, expands ? random : identity);
  const vector = scope.param("vector", [2, out], {
    init: { kind: "rows", values: singleInit ? [1, 0] : [1, 0.5] },
    decay: "branchScale",
  });
  return scope.add([
    scope.scale(origin, scope.select(vector, 0)),
    scope.scale(scope.composeKernels(first, second), scope.select(vector, 1)),
  ]);
}
