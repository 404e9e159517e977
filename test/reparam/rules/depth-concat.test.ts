// Rule IV: convolutions of one value, joined in depth.

import { describe, expect, it } from "@jest/globals";

import {
  type ConvOptions,
  convNamed,
  expectUntouched,
  foldExactly,
  kernelOf,
  reasonsAt,
} from "../../helpers/folding.js";
import { graphOf } from "../../helpers/graphs.js";

const RULE = "IV depth-concat";

/** Convolutions `conv0`, `conv1`, ... of one value, joined. */
function joinOf(...parts: readonly ConvOptions[]) {
  return graphOf((scope) => {
    const x = scope.input([4, 7, 6]);
    const branches = parts.map((options, i) => convNamed(scope, `conv${i}`, x, options));
    return scope.concat(branches, "joined");
  });
}

describe("convolutions joined in depth: one convolution", () => {
  const cases: [name: string, parts: ConvOptions[], kernel: string, hasBias: boolean][] = [
    ["of 2 and 3 outputs", [{ out: 2 }, { out: 3 }], "5x4x3x3", false],
    [
      "all with bias",
      [
        { out: 1, bias: true },
        { out: 3, bias: true },
      ],
      "4x4x3x3",
      true,
    ],
    ["one with bias", [{ out: 2 }, { out: 3, bias: true }, { out: 1 }], "6x4x3x3", true],
    [
      "of stride 2",
      [
        { stride: 2, padding: 1 },
        { stride: 2, padding: 1 },
      ],
      "8x4x3x3",
      false,
    ],
    ["of dilation 2", [{ dilation: 2 }, { dilation: 2, out: 2 }], "6x4x3x3", false],
    ["of one tap and two dilations", [{ kernel: 1, dilation: 2 }, { kernel: 1 }], "8x4x1x1", false],
  ];
  it.each(cases)("%s", (_name, parts, kernel, hasBias) => {
    const graph = joinOf(...parts);
    const { fired, kinds, graph: folded, convolutions, groups } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1 });
    expect(kinds).toEqual(["conv2d"]);
    expect(kernelOf(folded, convolutions[0]!)).toBe(kernel);
    expect(convolutions[0]!.inputs).toHaveLength(hasBias ? 3 : 2);
    expect(groups[0]!.replaced).toHaveLength(parts.length + 1);
  });

  const uneven: [name: string, parts: ConvOptions[], kernel: string][] = [
    [
      "1x1 and 3x3",
      [
        { kernel: 1, out: 2 },
        { padding: 1, out: 2 },
      ],
      "4x4x3x3",
    ],
    ["grouped and dense", [{ groups: 2, padding: 1 }, { padding: 1 }], "8x4x3x3"],
    ["all grouped: outputs would change their groups", [{ groups: 2 }, { groups: 2 }], "8x4x3x3"],
    [
      "1x3 and 3x1",
      [
        { kernel: [1, 3], padding: [0, 1] },
        { kernel: [3, 1], padding: [1, 0] },
      ],
      "8x4x3x3",
    ],
  ];
  it.each(uneven)("%s, by rule VI", (_name, parts, kernel) => {
    const graph = joinOf(...parts);
    const {
      fired,
      kinds,
      graph: folded,
      convolutions,
    } = foldExactly(graph, {
      maxCostRatio: Infinity,
    });
    expect(fired).toEqual({ [RULE]: 1, "VI multi-scale": 1 });
    expect(kinds).toEqual(["conv2d"]);
    expect(kernelOf(folded, convolutions[0]!)).toBe(kernel);
  });

  it("one of them twice", () => {
    const graph = graphOf((scope) => {
      const y = convNamed(scope, "conv", scope.input([4, 7, 6]), { bias: true });
      return scope.concat([y, y]);
    });
    const { fired, convolutions, graph: folded } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1 });
    expect(kernelOf(folded, convolutions[0]!)).toBe("8x4x3x3");
  });
});

describe("a concatenation stays where", () => {
  it("an operand is no convolution", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      return scope.concat([convNamed(scope, "conv", x, { padding: 1 }), x], "joined");
    });
    expect(reasonsAt(expectUntouched(graph), "joined")).toEqual([
      `${RULE}: its operand input "input" is not a convolution of its own`,
    ]);
  });

  it("a ReLU lies between", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const y = scope.relu(convNamed(scope, "conv0", x));
      return scope.concat([y, convNamed(scope, "conv1", x)], "joined");
    });
    expect(reasonsAt(expectUntouched(graph), "joined")).toEqual([
      `${RULE}: its operand relu "relu" is not a convolution of its own`,
    ]);
  });

  it("an operand has a second consumer", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const z = convNamed(scope, "conv0", x);
      return { y: scope.concat([z, convNamed(scope, "conv1", x)], "joined"), z };
    });
    expect(reasonsAt(expectUntouched(graph), "joined")).toEqual([
      `${RULE}: its operand conv2d "conv0" is not a convolution of its own`,
    ]);
  });

  it("an operand is the output of another block", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const y = scope.builder.labelFold(convNamed(scope, "conv0", x), "block");
      return scope.concat([convNamed(scope, "conv1", x), y], "joined");
    });
    expect(reasonsAt(expectUntouched(graph), "joined")).toEqual([
      `${RULE}: its operand conv2d "conv0" is not a convolution of its own`,
    ]);
  });

  it("sources differ", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const z = scope.relu(x, "other");
      return scope.concat([convNamed(scope, "conv0", x), convNamed(scope, "conv1", z)], "joined");
    });
    expect(reasonsAt(expectUntouched(graph), "joined")).toEqual([
      `${RULE}: its operands read different values, input "input" and relu "other"`,
    ]);
  });

  it("strides differ", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 1, 1]);
      const parts = [1, 2].map((stride) =>
        convNamed(scope, `conv${stride}`, x, { kernel: 1, stride }),
      );
      return scope.concat(parts, "joined");
    });
    expect(reasonsAt(expectUntouched(graph), "joined")).toEqual([
      `${RULE}: strides 1x1 and 2x2 differ`,
    ]);
  });

  it("grouped kernels would become dense ones, and too dear", () => {
    const checked = expectUntouched(joinOf({ groups: 4 }, { groups: 4 }));
    expect(reasonsAt(checked, "joined")).toEqual([
      "VI multi-scale: one convolution would take 5760 operations an image instead of 1760",
    ]);
  });
});
