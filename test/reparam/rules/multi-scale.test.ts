// Rule VI: smaller kernels inside larger ones, grouped ones as ones of fewer groups.

import { describe, expect, it } from "@jest/globals";

import type { Padding, Pair } from "../../../src/graph/index.js";
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

const RULE = "VI multi-scale";
const SUM = "II parallel";
const ANY_COST = { maxCostRatio: Infinity };

/** The sum `sum` of convolutions `conv0`, `conv1`, ... of one value. */
function sumOf(...branches: readonly ConvOptions[]) {
  return graphOf((scope) => {
    const x = scope.input([4, 9, 8]);
    return scope.add(
      branches.map((options, i) => convNamed(scope, `conv${i}`, x, options)),
      "sum",
    );
  });
}

describe("convolutions of several geometries that are added: one convolution", () => {
  interface Result {
    kernel: string;
    padding?: Padding;
    dilation?: Pair;
    groups?: number;
  }
  const same: Padding = [1, 1, 1, 1];
  const wide: Padding = [2, 2, 2, 2];
  const cases: [name: string, branches: ConvOptions[], result: Result][] = [
    ["1x1 in 3x3", [{ kernel: 1 }, { padding: 1 }], { kernel: "4x4x3x3", padding: same }],
    ["1x1 in 3x3, unpadded", [{ kernel: 1, padding: -1 }, {}], { kernel: "4x4x3x3" }],
    [
      "1x3 and 3x1 in 3x3",
      [
        { kernel: [1, 3], padding: [0, 1] },
        { kernel: [3, 1], padding: [1, 0] },
        { padding: 1, bias: true },
      ],
      { kernel: "4x4x3x3", padding: same },
    ],
    [
      "1x3 and 3x1, which make a 3x3",
      [
        { kernel: [1, 3], padding: [0, 1] },
        { kernel: [3, 1], padding: [1, 0] },
      ],
      { kernel: "4x4x3x3", padding: same },
    ],
    [
      "3x3 in 5x5, and 1x1",
      [{ padding: 1 }, { kernel: 5, padding: 2 }, { kernel: 1 }],
      { kernel: "4x4x5x5", padding: wide },
    ],
    [
      "dilated 3x3 in 5x5",
      [
        { dilation: 2, padding: 2 },
        { kernel: 5, padding: 2 },
      ],
      { kernel: "4x4x5x5", padding: wide },
    ],
    [
      "dilated 3x3 and plain 3x3: on the grid of 1",
      [{ dilation: 2, padding: 2 }, { padding: 1 }],
      { kernel: "4x4x5x5", padding: wide },
    ],
    [
      "1x1 at the centre of a dilated 3x3: the grid stays",
      [{ dilation: 2, padding: 2 }, { kernel: 1 }],
      { kernel: "4x4x3x3", padding: wide, dilation: [2, 2] },
    ],
    [
      "two corners",
      [
        { kernel: 2, padding: [1, 0, 1, 0] },
        { kernel: 2, padding: [0, 1, 0, 1] },
      ],
      { kernel: "4x4x3x3", padding: same },
    ],
    [
      "two taps far apart: dilated",
      [
        { kernel: 1, padding: [4, -4, 0, 0] },
        { kernel: 1, padding: [-2, 2, 0, 0] },
      ],
      { kernel: "4x4x2x1", padding: [4, 2, 0, 0], dilation: [6, 1] },
    ],
    [
      "groups 2 in dense",
      [{ padding: 1, groups: 2 }, { padding: 1 }],
      { kernel: "4x4x3x3", padding: same },
    ],
    [
      "depthwise in groups 2",
      [
        { padding: 1, groups: 4 },
        { padding: 1, groups: 2 },
      ],
      { kernel: "4x2x3x3", padding: same, groups: 2 },
    ],
    [
      "a grouped 1x1 in a dense 3x3",
      [{ kernel: 1, groups: 2, bias: true }, { padding: 1 }],
      { kernel: "4x4x3x3", padding: same },
    ],
  ];
  it.each(cases)("%s", (_name, branches, { kernel, ...geometry }) => {
    const { fired, kinds, graph, convolutions, groups } = foldExactly(sumOf(...branches), ANY_COST);
    expect(fired).toEqual({ [RULE]: 1, [SUM]: 1 });
    expect(kinds).toEqual(["conv2d"]);
    expect(kernelOf(graph, convolutions[0]!)).toBe(kernel);
    expect(convolutions[0]!.op).toEqual({
      ...{ kind: "conv2d", stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 },
      ...geometry,
    });
    expect(groups[0]!.rules).toEqual([RULE, SUM]);
  });

  it("groups 2 and 3 of six channels become dense", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([6, 5, 5]);
      return scope.add(
        [2, 3].map((groups) => convNamed(scope, `g${groups}`, x, { out: 6, groups })),
      );
    });
    const { convolutions, graph: folded } = foldExactly(graph, ANY_COST);
    expect(convolutions.map((node) => kernelOf(folded, node))).toEqual(["6x6x3x3"]);
  });

  it.each([
    [9, 8],
    [8, 9],
    [7, 7],
  ])("with stride 2, on %ix%i pixels", (height, width) => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, height, width]);
      return scope.add([
        convNamed(scope, "conv0", x, { stride: 2, padding: 1 }),
        convNamed(scope, "conv1", x, { kernel: 1, stride: 2 }),
        convNamed(scope, "conv2", x, { kernel: 5, stride: 2, padding: 2 }),
      ]);
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1, [SUM]: 1 });
    expect(kinds).toEqual(["conv2d"]);
  });

  it("apart from branches of another value", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      const z = scope.relu(x);
      const names = ["x1", "x3", "z1", "z3"];
      return scope.add(
        names.map((name) =>
          convNamed(scope, name, name.startsWith("x") ? x : z, {
            kernel: name.endsWith("1") ? 1 : 3,
            padding: name.endsWith("1") ? 0 : 1,
          }),
        ),
      );
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 2, [SUM]: 2 });
    expect(kinds.filter((kind) => kind === "conv2d")).toHaveLength(2);
  });
});

describe("kernels keep their size where", () => {
  it("they are alone in the sum", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      return scope.add([convNamed(scope, "conv", x, { padding: 1 }), scope.relu(x)]);
    });
    expect(expectUntouched(graph).fired).toEqual({});
  });

  it("strides differ", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 1, 1]);
      return scope.add(
        [
          convNamed(scope, "conv0", x, { padding: 1 }),
          convNamed(scope, "conv1", x, { kernel: 1, stride: 2 }),
        ],
        "sum",
      );
    });
    const checked = expectUntouched(graph);
    expect(checked.fired).toEqual({});
    expect(reasonsAt(checked, "sum")).toEqual([`${SUM}: strides 1x1 and 2x2 differ`]);
  });

  it("a branch has a second consumer", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      const y = convNamed(scope, "conv0", x, { kernel: 1 });
      return { y: scope.add([y, convNamed(scope, "conv1", x, { padding: 1 })]), z: scope.relu(y) };
    });
    expect(expectUntouched(graph).fired).toEqual({});
  });

  it("one operand of a concatenation is no convolution", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      return scope.concat([
        convNamed(scope, "conv0", x, { kernel: 1 }),
        convNamed(scope, "conv1", x, { padding: 1 }),
        x,
      ]);
    });
    expect(expectUntouched(graph).fired).toEqual({});
  });

  it("one kernel would have to span those of an atrous pyramid", () => {
    const dilated = (dilation: number) => ({ dilation, padding: dilation });
    const graph = sumOf({ kernel: 1 }, dilated(2), dilated(6), dilated(1));
    const checked = expectUntouched(graph);
    expect(reasonsAt(checked, "sum")).toEqual([
      `${RULE}: one convolution would take 194688 operations an image instead of 33408`,
    ]);
  });

  it("but those of the same geometry are still joined, and batch norms folded", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 9, 8]);
      const branch = (name: string, dilation: number) =>
        normNamed(scope, `${name}.bn`, convNamed(scope, name, x, { dilation, padding: dilation }));
      return scope.add([branch("a", 1), branch("b", 6), branch("c", 1)], "sum");
    });
    const { convolutions, graph: folded, groups } = foldExactly(graph);
    expect(convolutions.map((node) => kernelOf(folded, node))).toEqual(["4x4x3x3", "4x4x3x3"]);
    expect(groups.flatMap(({ rules }) => rules)).not.toContain(RULE);
  });
});
