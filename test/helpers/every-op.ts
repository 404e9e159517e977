// One graph with every op, most of them with attributes that are not the plain ones.

import type { Graph } from "../../src/graph/index.js";
import { graphOf } from "./graphs.js";

export function everyOpGraph(): Graph {
  return graphOf((scope) => {
    const image = scope.input([4, 6, 6], { mean: [0.1, 0.2, 0.3, 0.4], std: [0.5, 0.6, 0.7, 0.8] });
    const block = scope.child("block");
    const random = { kind: "kaimingUniform", a: 1 } as const;

    // A kernel of two groups, made of others, then spread over one group.
    const first = block.param("first", [4, 2, 1, 1], { init: random, decay: "kernel" });
    const square = block.add([first, block.constant([4, 2, 1, 1], { kind: "identity" })]);
    const second = block.param("second", [6, 2, 3, 3], { init: random, decay: "kernel" });
    const sequence = block.composeKernels(square, second, { groups: 2, correlate: true });
    const point = block.param("point", [6, 2, 1, 1], {
      init: { kind: "uniform", bound: 0.5 },
      decay: "kernel",
    });
    const prior = block.buffer("prior", [6, 3, 3], { kind: "frequencyPrior" });
    const waves = block.einsum("oi,ohw->oihw", [block.reshape(point, [6, 2]), prior]);
    const vector = block.param("vector", [2, 6], {
      init: { kind: "rows", values: [1, 0.5] },
      decay: "branchScale",
    });
    const mixed = block.add([
      block.scale(sequence, block.select(vector, 0)),
      block.scale(waves, block.select(vector, 1)),
    ]);
    const dense = block.embed(mixed, {
      kernel: [5, 6],
      offset: [0, 1],
      dilation: [2, 2],
      groups: { from: 2, to: 1 },
    });

    // Batch norm as an expression over weights, then as an op.
    const constant = (value: number) => ({ kind: "constant", value }) as const;
    const gamma = block.param("gamma", [6], { init: constant(1), decay: "norm" });
    const beta = block.param("beta", [6], { init: constant(0), decay: "bias" });
    const mean = block.buffer("mean", [6], constant(0));
    const variance = block.buffer("variance", [6], constant(1));
    const factor = block.mul(gamma, block.inverseStd(variance, 1e-3));
    const shift = block.sub(beta, block.mul(mean, factor));
    const folded = block.conv2d(image, block.scale(dense, factor), shift, {
      stride: [1, 2],
      padding: [2, 2, 3, 1],
    });
    const counter = block.counter("counter");
    const normed = block.batchNorm(
      folded,
      { gamma, beta, mean, variance, counter },
      { eps: 1e-3, momentum: 0.2, pad: [1, 0, 0, 1] },
    );
    const labelled = block.builder.labelFold(normed, "block.reparam");

    const depthwise = block.param("depthwise", [12, 1, 3, 1], { init: random, decay: "kernel" });
    const joined = block.concat([block.relu(labelled), block.silu(labelled)]);
    const wide = block.conv2d(joined, depthwise, undefined, { dilation: 2, groups: 12 });
    const gate = block.sigmoid(block.globalAvgPool(wide));
    const pooled = block.add([
      block.maxPool(block.mul(wide, gate), { kernel: [3, 2], stride: 1, padding: [1, 1, 0, 0] }),
      block.avgPool(wide, {
        kernel: [3, 2],
        stride: 1,
        padding: [1, 1, 0, 0],
        countIncludePad: false,
      }),
    ]);
    const features = scope.flatten(scope.globalAvgPool(pooled));
    const head = scope.param("head.weight", [3, 12], { init: random, decay: "kernel" });
    const logits = scope.builder.add({ kind: "linear" }, [features, head], "head", {
      rules: ["conv-bn", "sum"],
    });
    const penalty = scope.einsum("oi,oi->", [scope.detach(head), head], "penalty");
    return { logits, features, penalty };
  });
}
