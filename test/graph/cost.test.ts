// Multiply-adds, counted by hand.

import { describe, expect, it } from "@jest/globals";

import { graphMacs, nodeMacs } from "../../src/graph/index.js";
import { graphOf, weight } from "../helpers/graphs.js";

describe("multiply-adds for one image", () => {
  it.each([
    // Every output value is one dot product of kernel height * width * inputs per group.
    ["3x3 4→6 on 8x8, padded", [6, 4, 3, 3], { padding: 1 }, 6 * 8 * 8 * (4 * 9)],
    ["3x3 4→6 on 8x8, cropped to 6x6", [6, 4, 3, 3], {}, 6 * 6 * 6 * (4 * 9)],
    ["3x1 4→6 stride 2", [6, 4, 3, 1], { padding: [1, 0], stride: 2 }, 6 * 4 * 4 * (4 * 3)],
    ["3x3 4→6 groups 2", [6, 2, 3, 3], { padding: 1, groups: 2 }, 6 * 8 * 8 * (2 * 9)],
    ["3x3 depthwise", [4, 1, 3, 3], { padding: 1, groups: 4 }, 4 * 8 * 8 * 9],
    ["3x3 4→6 dilation 2", [6, 4, 3, 3], { padding: 2, dilation: 2 }, 6 * 8 * 8 * (4 * 9)],
  ] as const)("%s", (_name, shape, options, macs) => {
    const graph = graphOf((scope) =>
      scope.conv2d(
        scope.input([4, 8, 8]),
        weight(scope, "k", shape),
        weight(scope, "b", [shape[0]]),
        options,
      ),
    );
    expect(nodeMacs(graph, graph.nodes.at(-1)!)).toBe(macs);
    expect(graphMacs(graph)).toBe(macs);
  });

  it("a linear layer multiplies each input with each output; all else is free", () => {
    const graph = graphOf((scope) => {
      const one = { init: { kind: "constant", value: 1 }, decay: "norm" } as const;
      const x = scope.input([4, 8, 8]);
      const [gamma, beta, mean, variance] = ["g", "b", "m", "v"].map((name) =>
        scope.param(name, [4], one),
      ) as [ReturnType<typeof weight>, ...ReturnType<typeof weight>[]];
      const normed = scope.batchNorm(x, {
        gamma,
        beta: beta!,
        mean: mean!,
        variance: variance!,
      });
      const pooled = scope.avgPool(scope.silu(normed), { kernel: 2 });
      const features = scope.flatten(scope.globalAvgPool(pooled));
      const head = scope.add([weight(scope, "w", [10, 4]), weight(scope, "w2", [10, 4])]);
      return scope.linear(features, head, undefined);
    });
    expect(graphMacs(graph)).toBe(40);
  });
});
