// An identity beside a convolution is one more branch.

import { describe, expect, it } from "@jest/globals";

import {
  type ConvOptions,
  convNamed,
  expectUntouched,
  foldExactly,
} from "../../helpers/folding.js";
import { graphOf } from "../../helpers/graphs.js";

const RULE = "II identity-branch";

describe("x + conv(x): one convolution", () => {
  const cases: [name: string, options: ConvOptions][] = [
    ["1x1", { kernel: 1 }],
    ["3x3", { padding: 1 }],
    ["3x3 with bias", { padding: 1, bias: true }],
    ["5x1", { kernel: [5, 1], padding: [2, 0] }],
    ["2x2, off the centre", { kernel: 2, padding: [1, 0, 0, 1] }],
    ["groups", { padding: 1, groups: 2 }],
    ["depthwise", { padding: 1, groups: 4 }],
    ["dilation", { padding: 2, dilation: 2 }],
    ["taps that all miss the pixel", { kernel: 2, dilation: 2, padding: 1 }],
  ];
  it.each(cases)("%s", (_name, options) => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      return scope.add([convNamed(scope, "conv", x, options), x]);
    });
    const { fired, kinds, convolutions, groups } = foldExactly(graph);
    expect(fired).toMatchObject({ [RULE]: 1, "II parallel": 1 });
    expect(kinds).toEqual(["conv2d"]);
    expect(convolutions[0]!.op).toMatchObject({ groups: options.groups ?? 1 });
    expect(groups[0]!.rules).toContain(RULE);
  });

  it("whichever comes first, and however often", () => {
    const graph = graphOf((scope) => {
      const x = scope.relu(scope.input([4, 6, 5]));
      return scope.add([x, convNamed(scope, "conv", x, { padding: 1 }), x]);
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toMatchObject({ [RULE]: 2 });
    expect(kinds).toEqual(["relu", "conv2d"]);
  });

  it("beside an average", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      return scope.add([scope.avgPool(x, { kernel: 3, stride: 1, padding: 1 }), x]);
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toMatchObject({ [RULE]: 1, "V average-pool": 1 });
    expect(kinds).toEqual(["conv2d"]);
  });

  it("inside a block, whose label stays with the whole", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const y = scope.add([convNamed(scope, "conv", x, { padding: 1 }), x]);
      return scope.relu(scope.builder.labelFold(y, "block"));
    });
    const { convolutions } = foldExactly(graph);
    expect(convolutions.map(({ foldName }) => foldName)).toEqual(["block"]);
  });
});

describe("an identity stays one where", () => {
  it("no convolution of the same value is beside it", () => {
    const graph = graphOf((scope) => {
      const x = scope.relu(scope.input([4, 6, 5]));
      return scope.add([x, convNamed(scope, "conv", scope.relu(x), { padding: 1 })]);
    });
    expect(expectUntouched(graph).fired).toEqual({});
  });

  it("the convolution has a stride", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 1, 1]);
      return scope.add([x, convNamed(scope, "conv", x, { kernel: 1, stride: 2 })]);
    });
    expect(expectUntouched(graph).fired).toEqual({});
  });

  it("the convolution has a second consumer", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const y = convNamed(scope, "conv", x, { padding: 1 });
      return { y: scope.add([x, y]), z: scope.relu(y) };
    });
    expect(expectUntouched(graph).fired).toEqual({});
  });

  it("the convolution is the output of another block", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const y = scope.builder.labelFold(convNamed(scope, "conv", x, { padding: 1 }), "block");
      return scope.add([x, y]);
    });
    expect(expectUntouched(graph).fired).toEqual({});
  });

  it("a ReLU follows the convolution", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      return scope.add([x, scope.relu(convNamed(scope, "conv", x, { padding: 1 }))]);
    });
    expect(expectUntouched(graph).fired).toEqual({});
  });
});
