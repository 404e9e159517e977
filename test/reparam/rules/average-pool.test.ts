// Rule V: average pooling is a convolution with a constant kernel.

import { describe, expect, it } from "@jest/globals";

import type { Padding, Pair } from "../../../src/graph/index.js";
import {
  convNamed,
  expectUntouched,
  foldExactly,
  normNamed,
  reasonsAt,
} from "../../helpers/folding.js";
import { graphOf } from "../../helpers/graphs.js";

const RULE = "V average-pool";

describe("an average, then a batch norm: one depthwise convolution", () => {
  const cases: [name: string, kernel: Pair, stride: Pair, padding: Padding][] = [
    ["3x3", [3, 3], [1, 1], [0, 0, 0, 0]],
    ["3x3, padded", [3, 3], [1, 1], [1, 1, 1, 1]],
    ["3x3 stride 2, padded", [3, 3], [2, 2], [1, 1, 1, 1]],
    ["2x3, padded on two sides", [2, 3], [1, 2], [1, 0, 0, 1]],
    ["1x1", [1, 1], [1, 1], [0, 0, 0, 0]],
    ["5x5, padded", [5, 5], [1, 1], [2, 2, 2, 2]],
  ];
  it.each(cases)("%s", (_name, kernel, stride, padding) => {
    const graph = graphOf((scope) => {
      const x = scope.input([3, 7, 6]);
      return normNamed(scope, "bn", scope.avgPool(x, { kernel, stride, padding }));
    });
    const { fired, kinds, convolutions } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1, "I conv-batchnorm": 1 });
    expect(kinds).toEqual(["conv2d"]);
    expect(convolutions[0]!.op).toEqual({
      kind: "conv2d",
      ...{ stride, padding, dilation: [1, 1], groups: 3 },
    });
  });

  it("without padding, whatever count_include_pad says", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([3, 7, 6]);
      const y = scope.avgPool(x, { kernel: 3, stride: 1, countIncludePad: false });
      return normNamed(scope, "bn", y);
    });
    expect(foldExactly(graph).fired).toMatchObject({ [RULE]: 1 });
  });

  it("beside a convolution", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const pooled = scope.avgPool(x, { kernel: 3, stride: 2, padding: 1 });
      return scope.add([convNamed(scope, "conv", x, { stride: 2, padding: 1 }), pooled]);
    });
    const { kinds, groups } = foldExactly(graph);
    expect(kinds).toEqual(["conv2d"]);
    expect(groups[0]!.rules).toContain(RULE);
  });
});

describe("an average stays one where", () => {
  it("windows at the border divide by fewer pixels", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([3, 7, 6]);
      const window = { kernel: 3, stride: 1, padding: 1, countIncludePad: false };
      return normNamed(scope, "bn", scope.avgPool(x, window, "pool"));
    });
    const checked = expectUntouched(graph);
    expect(reasonsAt(checked, "pool")).toEqual([
      `${RULE}: windows at the border divide by fewer pixels than those inside`,
    ]);
    expect(reasonsAt(checked, "bn")).toEqual([
      'I conv-batchnorm: its input is avgPool "pool", not a convolution',
    ]);
  });

  it("it is alone", () => {
    const graph = graphOf((scope) =>
      scope.relu(scope.avgPool(scope.relu(scope.input([3, 7, 6])), { kernel: 2 })),
    );
    const checked = expectUntouched(graph);
    expect(checked.fired).toEqual({ [RULE]: 1 });
    expect(checked.refused).toEqual([]);
  });

  it("a ReLU separates it from its batch norm", () => {
    const graph = graphOf((scope) => {
      const pooled = scope.avgPool(scope.input([3, 7, 6]), { kernel: 2 });
      return normNamed(scope, "bn", scope.relu(pooled));
    });
    expectUntouched(graph);
  });
});
