// Rule II: the sum of convolutions of one value.

import { describe, expect, it } from "@jest/globals";

import { printGraph, type Scope, type Value } from "../../../src/graph/index.js";
import {
  type ConvOptions,
  convNamed,
  expectUntouched,
  foldExactly,
  normNamed,
  reasonsAt,
} from "../../helpers/folding.js";
import { graphOf } from "../../helpers/graphs.js";

const RULE = "II parallel";

/** The sum of convolutions `conv0`, `conv1`, ... of one value. */
function sumOf(...branches: readonly ConvOptions[]) {
  return graphOf((scope) => {
    const x = scope.input([4, 7, 6]);
    return scope.add(branches.map((options, i) => convNamed(scope, `conv${i}`, x, options)));
  });
}

describe("convolutions of one geometry that are added: one convolution", () => {
  const geometries: [name: string, options: ConvOptions][] = [
    ["1x1", { kernel: 1 }],
    ["3x3", { padding: 1 }],
    ["groups", { padding: 1, groups: 2 }],
    ["stride", { stride: 2, padding: 1 }],
    ["dilation", { dilation: 2 }],
    ["an even kernel", { kernel: 2, padding: [1, 0, 1, 0] }],
    ["cropping", { kernel: 1, padding: [-1, 0, 0, -2] }],
  ];
  const cases = geometries.flatMap(([name, options]) =>
    [2, 4].flatMap((count) =>
      ["none", "first", "all"].map((biased) => [name, count, biased, options] as const),
    ),
  );
  it.each(cases)("%s, %i of them, biases: %s", (_name, count, biased, options) => {
    const branches = Array.from({ length: count }, (_, i) => ({
      ...options,
      bias: biased === "all" || (biased === "first" && i === 0),
    }));
    const graph = sumOf(...branches);
    const { fired, kinds, convolutions, groups } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1 });
    expect(kinds).toEqual(["conv2d"]);
    expect(convolutions[0]!.inputs).toHaveLength(biased === "none" ? 2 : 3);
    const [first] = graph.nodes.filter(({ op }) => op.kind === "conv2d");
    expect(convolutions[0]!.op).toEqual(first!.op);
    expect(groups[0]!.replaced).toHaveLength(count + 1);
  });

  it("adds kernels and biases", () => {
    const text = printGraph(foldExactly(sumOf({ bias: true }, { bias: true })).graph);
    expect(text).toContain("f: (4,4,3,3) = add(b, d)");
    expect(text).toContain("g: (4) = add(c, e)");
    expect(text).toContain("h: (4,5,4) = conv2d(a, f, g)");
  });

  it("counts a branch that is added twice twice", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const y = convNamed(scope, "conv", x, { bias: true });
      return scope.add([y, convNamed(scope, "other", x), y]);
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1 });
    expect(kinds).toEqual(["conv2d"]);
  });

  it("with a stride, whatever padding the last windows leave over", () => {
    const graph = sumOf(
      { kernel: 1, stride: 2, padding: [0, 0, 0, 0] },
      { kernel: 1, stride: 2, padding: [0, 1, 0, 0] },
    );
    expect(graph.nodes.at(-1)!.type.shape).toEqual([4, 4, 3]);
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1 });
    expect(kinds).toEqual(["conv2d"]);
  });

  it("with kernels of one tap, whatever dilation they were given", () => {
    const graph = sumOf(
      { kernel: [3, 1], dilation: [2, 1] },
      { kernel: [3, 1], dilation: [2, 3] },
      { kernel: [3, 1], dilation: [2, 2] },
    );
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1 });
    expect(kinds).toEqual(["conv2d"]);
  });

  it("apart from other operands", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const options = { padding: 1 };
      return scope.add([
        convNamed(scope, "conv0", x, options),
        scope.relu(x),
        convNamed(scope, "conv1", x, options),
      ]);
    });
    const { fired, kinds, groups } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1 });
    expect([...kinds].sort()).toEqual(["add", "conv2d", "relu"]);
    expect(groups).toHaveLength(1);
  });

  it("in pairs, where they read two values", () => {
    const graph = graphOf((scope) => {
      const a = scope.input([4, 7, 6]);
      const b = scope.relu(a);
      return scope.add([a, b, a, b].map((x, i) => convNamed(scope, `conv${i}`, x, { padding: 1 })));
    });
    const { fired, kinds, groups } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 2 });
    expect(kinds.filter((kind) => kind === "conv2d")).toHaveLength(2);
    expect(groups).toHaveLength(2);
  });

  it("and what is merged may then follow another convolution", () => {
    // The sum is younger than the convolution that takes the place of its operand.
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const inner = convNamed(scope, "inner", x, { kernel: 1 });
      return scope.add([
        convNamed(scope, "conv0", inner, { padding: 1 }),
        convNamed(scope, "conv1", inner, { padding: 1 }),
        scope.relu(x),
      ]);
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1, "III sequence": 1 });
    expect([...kinds].sort()).toEqual(["add", "conv2d", "relu"]);
  });
});

describe("a sum stays where", () => {
  const twice = { padding: 1 };

  it("strides differ", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 1, 1]);
      return scope.add(
        [
          convNamed(scope, "conv0", x, { kernel: 1 }),
          convNamed(scope, "conv1", x, { kernel: 1, stride: 2 }),
        ],
        "sum",
      );
    });
    expect(reasonsAt(expectUntouched(graph), "sum")).toEqual([
      `${RULE}: strides 1x1 and 2x2 differ`,
    ]);
  });

  it("sources differ", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      return scope.add(
        [
          convNamed(scope, "conv0", x, twice),
          convNamed(scope, "conv1", scope.relu(x, "other"), twice),
        ],
        "sum",
      );
    });
    expect(reasonsAt(expectUntouched(graph), "sum")).toEqual([
      `${RULE}: its operands read different values, input "input" and relu "other"`,
    ]);
  });

  const users: [
    name: string,
    graph: (scope: Scope, y: Value, sum: Value) => Record<string, Value>,
  ][] = [
    ["a branch has a second consumer", (scope, y, sum) => ({ y: scope.mul(sum, scope.relu(y)) })],
    ["a branch is an output of the graph", (_scope, inner, y) => ({ inner, y })],
  ];
  it.each(users)("%s", (_name, finish) => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const y = convNamed(scope, "conv0", x, twice);
      return finish(scope, y, scope.add([y, convNamed(scope, "conv1", x, twice)], "sum"));
    });
    expect(reasonsAt(expectUntouched(graph), "sum")).toEqual([
      `${RULE}: conv2d "conv0" has another user`,
    ]);
  });

  it("a ReLU lies between", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const y = scope.relu(convNamed(scope, "conv0", x, twice));
      return scope.add([y, convNamed(scope, "conv1", x, twice)], "sum");
    });
    expect(reasonsAt(expectUntouched(graph), "sum")).toEqual([
      `${RULE}: its operand relu "relu" is not a convolution`,
    ]);
  });

  it("a branch is the output of another block", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const y = scope.builder.labelFold(convNamed(scope, "conv0", x, twice), "block");
      return scope.add([y, convNamed(scope, "conv1", x, twice)], "sum");
    });
    expect(reasonsAt(expectUntouched(graph), "sum")).toEqual([
      `${RULE}: conv2d "conv0" is the output of another block`,
    ]);
  });

  it("it is a residual connection between blocks", () => {
    const graph = graphOf((scope) => {
      const x = scope.relu(scope.input([4, 7, 6]));
      const y = normNamed(scope, "bn", convNamed(scope, "conv", x, twice));
      return scope.add([scope.builder.labelFold(y, "block"), x], "sum");
    });
    const { kinds, groups } = foldExactly(graph);
    expect(kinds).toEqual(["relu", "conv2d", "add"]);
    expect(groups.map(({ output }) => output)).toEqual(["bn"]);
  });

  it("it adds weights", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 7, 6]);
      const one = scope.constant([4, 4, 1, 1], { kind: "constant", value: 1 });
      return scope.conv2d(x, scope.add([one, one]), undefined);
    });
    expectUntouched(graph);
  });
});
