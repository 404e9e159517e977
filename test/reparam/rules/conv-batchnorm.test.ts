// Rule I: a convolution and its batch norm.

import { describe, expect, it } from "@jest/globals";

import { printGraph, type Scope, type Value } from "../../../src/graph/index.js";
import {
  type ConvOptions,
  convNamed,
  expectUntouched,
  foldExactly,
  kernelOf,
  normNamed,
  reasonsAt,
} from "../../helpers/folding.js";
import { graphOf, weight } from "../../helpers/graphs.js";

const RULE = "I conv-batchnorm";

const plain = (scope: Scope) => convNamed(scope, "conv", scope.input([4, 7, 6]), { padding: 1 });

describe("a convolution, then batch norm: one convolution", () => {
  const geometries: [name: string, options: ConvOptions][] = [
    ["1x1", { kernel: 1 }],
    ["3x3", { padding: 1 }],
    ["3x2, even and odd", { kernel: [3, 2], padding: [1, 1, 1, 0] }],
    ["stride 2", { stride: 2, padding: 1 }],
    ["dilation 2", { dilation: 2, padding: 2 }],
    ["cropped", { kernel: 1, padding: [-1, -1, -2, 0] }],
  ];
  const cases = geometries.flatMap(([name, options]) =>
    [1, 2, 4].flatMap((groups) =>
      [false, true].map((bias) => [name, groups, bias, { ...options, groups, bias }] as const),
    ),
  );

  it.each(cases)("%s, groups %i, bias %s", (_name, _groups, _bias, options) => {
    const graph = graphOf((scope) =>
      normNamed(scope, "bn", convNamed(scope, "conv", scope.input([4, 7, 6]), options)),
    );
    const { fired, kinds, groups, convolutions } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1 });
    expect(kinds).toEqual(["conv2d"]);
    expect(groups.map(({ rules }) => rules)).toEqual([[RULE]]);
    const [before] = graph.nodes.filter(({ op }) => op.kind === "conv2d");
    expect(convolutions.map(({ op }) => op)).toEqual([before!.op]);
    expect(convolutions[0]!.inputs).toHaveLength(3);
  });

  it("spells the equation as weight expressions", () => {
    const graph = graphOf((scope) => normNamed(scope, "bn", plain(scope)));
    const lines = printGraph(foldExactly(graph).graph).split("\n");
    const text = lines
      .filter((line) => !line.includes("param()"))
      .map((line) => line.split("  #")[0]);
    expect(text).toEqual([
      "a: (4,7,6) = input() mean=(0,0,0,0) std=(1,1,1,1)",
      "g: (4) = inverseStd(f) eps=0.00001",
      "h: (4) = scale(g, c)",
      "i: (4) = scale(e, h)",
      "j: (4) = sub(d, i)",
      "k: (4,4,3,3) = scale(b, h)",
      "l: (4,7,6) = conv2d(a, k, j) padding=1",
      "return y=l",
      "",
    ]);
    expect(lines.at(-3)).toContain(`# bn; by ${RULE}`);
  });

  it("twice in a row", () => {
    const graph = graphOf((scope) =>
      normNamed(scope, "bn2", normNamed(scope, "bn1", plain(scope))),
    );
    const { fired, kinds, groups } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 2 });
    expect(kinds).toEqual(["conv2d"]);
    expect(groups[0]!.replaced).toHaveLength(3);
  });

  it("for each of two convolutions that share a kernel", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 5, 5]);
      const kernel = weight(scope, "kernel", [4, 4, 1, 1]);
      const first = normNamed(scope, "bn1", scope.conv2d(x, kernel, undefined, {}, "conv1"));
      const second = scope.conv2d(scope.relu(first), kernel, undefined, {}, "conv2");
      return normNamed(scope, "bn2", second);
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 2 });
    expect(kinds).toEqual(["conv2d", "relu", "conv2d"]);
  });

  it("where the kernel is an expression", () => {
    const graph = graphOf((scope) => {
      const kernel = scope.composeKernels(
        weight(scope, "first", [3, 4, 1, 1]),
        weight(scope, "second", [5, 3, 3, 3]),
        { correlate: true },
      );
      return normNamed(scope, "bn", scope.conv2d(scope.input([4, 6, 6]), kernel, undefined));
    });
    const { fired, graph: folded, convolutions } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1 });
    expect(kernelOf(folded, convolutions[0]!)).toBe("5x4x3x3");
  });
});

describe("batch norm stays where", () => {
  it("the convolution has a second consumer", () => {
    const graph = graphOf((scope) => {
      const y = plain(scope);
      return { y: scope.add([normNamed(scope, "bn", y), scope.relu(y)]) };
    });
    expect(reasonsAt(expectUntouched(graph), "bn")).toEqual([
      `${RULE}: conv2d "conv" has another user`,
    ]);
  });

  it("the convolution is an output of the graph", () => {
    const graph = graphOf((scope) => {
      const y = plain(scope);
      return { inner: y, y: normNamed(scope, "bn", y) };
    });
    expect(reasonsAt(expectUntouched(graph), "bn")).toEqual([
      `${RULE}: conv2d "conv" has another user`,
    ]);
  });

  it("the convolution is the output of another block", () => {
    const graph = graphOf((scope) =>
      normNamed(scope, "bn", scope.builder.labelFold(plain(scope), "block")),
    );
    expect(reasonsAt(expectUntouched(graph), "bn")).toEqual([
      `${RULE}: conv2d "conv" is the output of another block`,
    ]);
  });

  const between: [name: string, make: (scope: Scope, x: Value) => Value, reason: string][] = [
    ["a ReLU", (scope, x) => scope.relu(x), 'relu "relu"'],
    ["a maximum", (scope, x) => scope.maxPool(x, { kernel: 2 }), 'maxPool "maxpool"'],
  ];
  it.each(between)("%s lies between", (_name, make, what) => {
    const graph = graphOf((scope) => normNamed(scope, "bn", make(scope, plain(scope))));
    expect(reasonsAt(expectUntouched(graph), "bn")).toEqual([
      `${RULE}: its input is ${what}, not a convolution`,
    ]);
  });
});
