// Rule III: a convolution after a convolution.

import { describe, expect, it } from "@jest/globals";

import type { Padding, Pair, Scope, Value } from "../../../src/graph/index.js";
import {
  type ConvOptions,
  convNamed,
  expectUntouched,
  foldExactly,
  kernelOf,
  normNamed,
  reasonsAt,
} from "../../helpers/folding.js";
import { graphOf } from "../../helpers/graphs.js";

const RULE = "III sequence";
const ANY_COST = { maxCostRatio: Infinity };

/** Two convolutions, `first` and `second`. */
function sequenceOf(first: ConvOptions, second: ConvOptions) {
  return graphOf((scope) => {
    const x = scope.input([4, 11, 10]);
    return convNamed(scope, "second", convNamed(scope, "first", x, first), second);
  });
}

describe("two convolutions in sequence: one", () => {
  type Case = [name: string, first: ConvOptions, second: ConvOptions, result: Result];
  interface Result {
    kernel: string;
    stride?: Pair;
    padding?: Padding;
    dilation?: Pair;
    groups?: number;
  }
  const cases: Case[] = [
    ["1x1, 3x3", { kernel: 1, out: 6 }, {}, { kernel: "4x4x3x3" }],
    [
      "1x1, 3x3 padded",
      { kernel: 1 },
      { padding: 1 },
      { kernel: "4x4x3x3", padding: [1, 1, 1, 1] },
    ],
    ["1x1 with bias, 3x3", { kernel: 1, bias: true }, { bias: true }, { kernel: "4x4x3x3" }],
    [
      "1x1 padded with bias, 3x3",
      { kernel: 1, bias: true, padding: 1 },
      {},
      { kernel: "4x4x3x3", padding: [1, 1, 1, 1] },
    ],
    [
      "3x3 padded, 1x1",
      { padding: 1 },
      { kernel: 1 },
      { kernel: "4x4x3x3", padding: [1, 1, 1, 1] },
    ],
    ["3x3, 3x3", {}, {}, { kernel: "4x4x5x5" }],
    ["3x3 padded by 2, 3x3", { padding: 2 }, {}, { kernel: "4x4x5x5", padding: [2, 2, 2, 2] }],
    [
      "1x3 padded, 3x1 padded: across only",
      { kernel: [1, 3], padding: [0, 1] },
      { kernel: [3, 1], padding: [1, 0] },
      { kernel: "4x4x3x3", padding: [1, 1, 1, 1] },
    ],
    ["even kernels", { kernel: 2 }, { kernel: [2, 4] }, { kernel: "4x4x3x5" }],
    [
      "stride in the second",
      { kernel: 1 },
      { stride: 2, padding: 1 },
      { kernel: "4x4x3x3", stride: [2, 2], padding: [1, 1, 1, 1] },
    ],
    [
      "stride in the first: the second reads every other pixel",
      { kernel: 1, stride: 2 },
      { padding: 1 },
      { kernel: "4x4x3x3", stride: [2, 2], padding: [2, 2, 2, 2], dilation: [2, 2] },
    ],
    [
      "strides in both",
      { stride: [2, 1] },
      { kernel: 2, stride: [1, 2] },
      { kernel: "4x4x5x4", stride: [2, 2] },
    ],
    ["dilation in both", { dilation: 2 }, { dilation: 2 }, { kernel: "4x4x5x5", dilation: [2, 2] }],
    [
      "dilations 2 and 3: on the grid of 1",
      { kernel: [2, 1], dilation: 2 },
      { kernel: [2, 1], dilation: 3 },
      { kernel: "4x4x6x1" },
    ],
    ["groups in both", { groups: 2 }, { kernel: 1, groups: 2 }, { kernel: "4x2x3x3", groups: 2 }],
    ["groups 4, then 2", { groups: 4 }, { kernel: 1, groups: 2 }, { kernel: "4x2x3x3", groups: 2 }],
    ["groups 2, then 4", { kernel: 1, groups: 2 }, { groups: 4 }, { kernel: "4x2x3x3", groups: 2 }],
    ["groups 2, then none", { groups: 2 }, { kernel: 1 }, { kernel: "4x4x3x3" }],
    [
      "groups 2 and 3",
      { kernel: 1, groups: 2, out: 6 },
      { groups: 3, out: 6 },
      { kernel: "6x4x3x3" },
    ],
    [
      "1x1, then depthwise",
      { kernel: 1 },
      { groups: 4, padding: 1 },
      { kernel: "4x4x3x3", padding: [1, 1, 1, 1] },
    ],
    [
      "1x1 with bias, then depthwise",
      { kernel: 1, bias: true },
      { groups: 4 },
      { kernel: "4x4x3x3" },
    ],
    [
      "1x1 stride 2, then depthwise dilated",
      { kernel: 1, stride: 2 },
      { groups: 4, kernel: 2, dilation: 2 },
      { kernel: "4x4x2x2", stride: [2, 2], dilation: [4, 4] },
    ],
    ["depthwise, then depthwise", { groups: 4 }, { groups: 4 }, { kernel: "4x1x5x5", groups: 4 }],
    [
      "cropped by the second",
      { padding: 1 },
      { kernel: 1, padding: [-1, 0, 0, -2] },
      { kernel: "4x4x3x3", padding: [0, 1, 1, -1] },
    ],
    [
      "cropped by the first",
      { kernel: 1, padding: -1 },
      {},
      { kernel: "4x4x3x3", padding: [-1, -1, -1, -1] },
    ],
    [
      "padded down, where the first reaches across and crops",
      { kernel: [1, 3], padding: [0, 0, -1, 0] },
      { kernel: [3, 1], padding: [1, 2, 0, 0] },
      { kernel: "4x4x3x3", padding: [1, 2, -1, 0] },
    ],
  ];
  it.each(cases)("%s", (_name, first, second, { kernel, ...geometry }) => {
    const graph = sequenceOf(first, second);
    const { fired, kinds, graph: folded, convolutions } = foldExactly(graph, ANY_COST);
    expect(fired).toEqual({ [RULE]: 1 });
    expect(kinds).toEqual(["conv2d"]);
    expect(kernelOf(folded, convolutions[0]!)).toBe(kernel);
    expect(convolutions[0]!.op).toEqual({
      ...{ kind: "conv2d", stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 },
      ...geometry,
    });
  });

  it("three of them", () => {
    const graph = graphOf((scope) => {
      const options = { kernel: [2, 1] as const, bias: true };
      return ["a", "b", "c"].reduce(
        (x, name) => convNamed(scope, name, x, options),
        scope.input([4, 7, 6]),
      );
    });
    const { fired, groups } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 2 });
    expect(groups.map(({ kernel }) => kernel)).toEqual(["(4,4,4,1)"]);
  });
});

describe("a sequence stays where", () => {
  const borders: [name: string, first: ConvOptions, second: ConvOptions, reason: string][] = [
    [
      "zeros are padded after a bias",
      { kernel: 1, bias: true },
      { padding: 1 },
      "the first convolution has a bias and the second pads with zeros: no convolution equals both at the border",
    ],
    [
      "zeros are padded after a 3x3",
      { padding: 1 },
      { padding: 1 },
      "the second convolution pads with zeros where the first kernel (3x3) reaches into the image",
    ],
    [
      "zeros are padded on one side after a 3x1",
      { kernel: [3, 1] },
      { padding: [0, 1, 0, 0] },
      "the second convolution pads with zeros where the first kernel (3x1) reaches into the image",
    ],
    [
      "zeros are padded across after a 1x3",
      { kernel: [1, 3] },
      { kernel: [3, 1], padding: [1, 1, 0, 1] },
      "the second convolution pads with zeros where the first kernel (1x3) reaches into the image",
    ],
    [
      "zeros are padded where the first has cropped",
      { kernel: 1, padding: -1 },
      { padding: 1 },
      "the second convolution pads with zeros where the first has cropped",
    ],
  ];
  it.each(borders)("%s", (_name, first, second, reason) => {
    const checked = expectUntouched(sequenceOf(first, second), ANY_COST);
    expect(reasonsAt(checked, "second")).toEqual([`${RULE}: ${reason}`]);
  });

  const first = (scope: Scope) => convNamed(scope, "first", scope.input([4, 6, 6]), { kernel: 1 });
  const second = (scope: Scope, x: Value) => convNamed(scope, "second", x);

  it("the first has a second consumer", () => {
    const graph = graphOf((scope) => {
      const x = first(scope);
      return { y: second(scope, x), z: scope.relu(x) };
    });
    expect(reasonsAt(expectUntouched(graph, ANY_COST), "second")).toEqual([
      `${RULE}: conv2d "first" has another user`,
    ]);
  });

  it("the first is an output of the graph", () => {
    const graph = graphOf((scope) => {
      const z = first(scope);
      return { y: second(scope, z), z };
    });
    expect(reasonsAt(expectUntouched(graph, ANY_COST), "second")).toEqual([
      `${RULE}: conv2d "first" has another user`,
    ]);
  });

  it("but an output that is not kept is no obstacle", () => {
    const graph = graphOf((scope) => {
      const z = first(scope);
      return { y: second(scope, z), z };
    });
    const { groups, graph: folded } = foldExactlyWithout(graph);
    expect(groups.map(({ rules }) => rules)).toEqual([[RULE]]);
    expect(folded.outputs.map(({ name }) => name)).toEqual(["y"]);
  });

  it("the first is the output of another block", () => {
    const graph = graphOf((scope) => second(scope, scope.builder.labelFold(first(scope), "block")));
    expect(reasonsAt(expectUntouched(graph, ANY_COST), "second")).toEqual([
      `${RULE}: conv2d "first" is the output of another block`,
    ]);
  });

  it("a ReLU lies between", () => {
    const graph = graphOf((scope) => second(scope, scope.relu(first(scope))));
    expect(expectUntouched(graph, ANY_COST).refused).toEqual([]);
  });
});

describe("the price of one convolution", () => {
  /** MobileNet's pair: depthwise 3x3 and batch norm, then 1x1 and batch norm. */
  const separable = (label?: string) =>
    graphOf((scope) => {
      const x = scope.input([16, 8, 8]);
      const depthwise = convNamed(scope, "dw", x, { out: 16, groups: 16, padding: 1 });
      const mixed = convNamed(scope, "pw", normNamed(scope, "dwbn", depthwise), {
        out: 16,
        kernel: 1,
      });
      const y = normNamed(scope, "pwbn", mixed);
      return label === undefined ? y : scope.builder.labelFold(y, label);
    });

  it("is too high for a depthwise and a 1x1 convolution", () => {
    const { kinds, refused } = foldExactly(separable());
    expect(kinds).toEqual(["conv2d", "conv2d"]);
    // 16*16*9 multiply-adds a pixel instead of 16*9 + 16*16, and one each for the batch norms.
    expect(refused).toEqual([
      {
        output: "pwbn",
        rule: RULE,
        reason: "one convolution would take 147456 operations an image instead of 27648",
      },
    ]);
  });

  it("is paid where it is asked for", () => {
    const { kinds, refused } = foldExactly(separable(), { maxCostRatio: 6 });
    expect(kinds).toEqual(["conv2d"]);
    expect(refused).toEqual([]);
  });

  it("is paid inside of a block", () => {
    const { kinds, convolutions } = foldExactly(separable("block"));
    expect(kinds).toEqual(["conv2d"]);
    expect(convolutions[0]!.foldName).toBe("block");
  });

  it("of two 3x3 is 25 instead of 18, and paid", () => {
    expect(foldExactly(sequenceOf({}, {})).kinds).toEqual(["conv2d"]);
  });
});

function foldExactlyWithout(graph: Parameters<typeof foldExactly>[0]) {
  const kept = { ...graph, outputs: graph.outputs.filter(({ name }) => name === "y") };
  return foldExactly(kept, { ...ANY_COST, outputs: ["y"] });
}
