// Rule I for a batch norm with a border of BN(0).

import { describe, expect, it } from "@jest/globals";

import type { Padding } from "../../../src/graph/index.js";
import {
  type ConvOptions,
  convNamed,
  expectUntouched,
  foldExactly,
  normNamed,
  reasonsAt,
} from "../../helpers/folding.js";
import { graphOf } from "../../helpers/graphs.js";

const RULE = "I padded-batchnorm";

/** A convolution, then a batch norm with that border. */
function paddedGraph(options: ConvOptions, pad: number | Padding = 1) {
  return graphOf((scope) =>
    normNamed(scope, "bn", convNamed(scope, "conv", scope.input([4, 6, 7]), options), pad),
  );
}

describe("1x1 without bias, then a batch norm with a border: a 1x1 with padding", () => {
  const cases: [name: string, options: ConvOptions, pad: number | Padding, padding: Padding][] = [
    ["border 1", {}, 1, [1, 1, 1, 1]],
    ["border 3", {}, 3, [3, 3, 3, 3]],
    ["a border on three sides", {}, [1, 0, 2, 3], [1, 0, 2, 3]],
    ["a convolution with padding of its own", { padding: 1 }, 2, [3, 3, 3, 3]],
    ["groups", { groups: 2 }, 1, [1, 1, 1, 1]],
    ["depthwise", { groups: 4 }, 1, [1, 1, 1, 1]],
    ["more outputs", { out: 6, groups: 2 }, 1, [1, 1, 1, 1]],
  ];
  it.each(cases)("%s", (_name, options, pad, padding) => {
    const { fired, kinds, convolutions } = foldExactly(paddedGraph({ kernel: 1, ...options }, pad));
    expect(fired).toEqual({ [RULE]: 1 });
    expect(kinds).toEqual(["conv2d"]);
    expect(convolutions[0]!.op).toMatchObject({ padding });
  });

  it("with an average after it, as in DBB", () => {
    const graph = graphOf((scope) => {
      const y = convNamed(scope, "conv", scope.input([4, 6, 7]), { kernel: 1 });
      const pooled = scope.avgPool(normNamed(scope, "bn", y, 1), { kernel: 3, stride: 2 });
      return normNamed(scope, "avgbn", pooled);
    });
    const { kinds, convolutions } = foldExactly(graph, { maxCostRatio: Infinity });
    expect(kinds).toEqual(["conv2d"]);
    expect(convolutions[0]!.op).toMatchObject({ stride: [2, 2], padding: [1, 1, 1, 1] });
  });
});

describe("the border stays where", () => {
  const cases: [name: string, options: ConvOptions, reason: string][] = [
    [
      "the convolution has a bias",
      { kernel: 1, bias: true },
      "the convolution has a bias, which the border BN(0) does not contain",
    ],
    ["the kernel is 3x3", {}, "the kernel 3x3 reaches from the border into the image"],
    [
      "the kernel is 1x3",
      { kernel: [1, 3] },
      "the kernel 1x3 reaches from the border into the image",
    ],
    ["the convolution has a stride", { kernel: 1, stride: 2 }, "the convolution has a stride"],
    [
      "the convolution has a stride along one axis",
      { kernel: 1, stride: [1, 2] },
      "the convolution has a stride",
    ],
    [
      "the convolution crops",
      { kernel: 1, padding: [-1, 0, 0, 0] },
      "the convolution crops its input",
    ],
  ];
  it.each(cases)("%s", (_name, options, reason) => {
    const checked = expectUntouched(paddedGraph(options));
    expect(reasonsAt(checked, "bn")).toEqual([`${RULE}: ${reason}`]);
  });

  it("the convolution has a second consumer", () => {
    const graph = graphOf((scope) => {
      const y = convNamed(scope, "conv", scope.input([4, 6, 7]), { kernel: 1 });
      return { y: normNamed(scope, "bn", y, 1), inner: scope.relu(y) };
    });
    expect(reasonsAt(expectUntouched(graph), "bn")).toEqual([
      `${RULE}: conv2d "conv" has another user`,
    ]);
  });

  it("the convolution is the output of another block", () => {
    const graph = graphOf((scope) => {
      const y = convNamed(scope, "conv", scope.input([4, 6, 7]), { kernel: 1 });
      return normNamed(scope, "bn", scope.builder.labelFold(y, "block"), 1);
    });
    expect(reasonsAt(expectUntouched(graph), "bn")).toEqual([
      `${RULE}: conv2d "conv" is the output of another block`,
    ]);
  });

  it("a ReLU lies between", () => {
    const graph = graphOf((scope) => {
      const y = convNamed(scope, "conv", scope.input([4, 6, 7]), { kernel: 1 });
      return normNamed(scope, "bn", scope.relu(y), 1);
    });
    expect(reasonsAt(expectUntouched(graph), "bn")).toEqual([
      `${RULE}: its input is relu "relu", not a convolution`,
    ]);
  });
});
