// Ops that work value by value, and joining.

import { describe, expect, it } from "@jest/globals";

import type { Scope, Value } from "../../../src/graph/index.js";
import { graphOf, run, weight } from "../../helpers/graphs.js";
import { build, numbers } from "../../helpers/numbers.js";

/** What an op makes of one line of pixels. */
function pixels(op: (scope: Scope, x: Value) => Value, values: readonly number[]): number[] {
  const graph = graphOf((scope) => op(scope, scope.input([1, 1, values.length])));
  const images = { shape: [1, 1, 1, values.length], data: Float64Array.from(values) };
  return [...run(graph, { images }).y.data];
}

describe("activations", () => {
  it("relu", () => {
    const values = [-Infinity, -2, -0.5, 0, 0.5, 2, Infinity, NaN];
    expect(pixels((scope, x) => scope.relu(x), values)).toEqual([
      ...[0, 0, 0, 0, 0.5, 2, Infinity, NaN],
    ]);
  });

  it.each([
    [0, 0.5],
    [1, 0.7310585786300049],
    [-1, 0.2689414213699951],
    [2, 0.8807970779778823],
    [Math.log(3), 0.75],
    [40, 1],
    [1000, 1],
    [-1000, 0],
  ])("sigmoid(%d) = %d", (value, expected) => {
    const [found] = pixels((scope, x) => scope.sigmoid(x), [value]);
    expect(found).toBeCloseTo(expected, 15);
  });

  it.each([
    [0, 0],
    [1, 0.7310585786300049],
    [-1, -0.2689414213699951],
    [-2, -0.2384058440442351],
    [Math.log(3), 0.75 * Math.log(3)],
    [1000, 1000],
    [-1000, 0],
  ])("silu(%d) = %d", (value, expected) => {
    const [found] = pixels((scope, x) => scope.silu(x), [value]);
    expect(found).toBeCloseTo(expected, 15);
  });
});

describe("sums and products", () => {
  const shape = [2, 3];
  const state = {
    a: [shape, [1, 2, 3, 4, 5, 6]],
    b: [shape, [10, 20, 30, 40, 50, 60]],
    c: [shape, [-1, 0, 1, 0.5, 0.25, -0.125]],
  } as const;
  const of = (build: (scope: Scope, a: Value, b: Value, c: Value) => Value) => {
    const graph = graphOf((scope) => {
      const [a, b, c] = ["a", "b", "c"].map((name) => weight(scope, name, shape)) as [
        Value,
        Value,
        Value,
      ];
      return build(scope, a, b, c);
    });
    return [...run(graph, { state }).y.data];
  };

  it("add takes any number of values, the same one twice too", () => {
    expect(of((scope, a, b, c) => scope.add([a, b, c]))).toEqual([10, 22, 34, 44.5, 55.25, 65.875]);
    expect(of((scope, a) => scope.add([a, a, a]))).toEqual([3, 6, 9, 12, 15, 18]);
  });

  it("sub and mul", () => {
    expect(of((scope, a, b) => scope.sub(b, a))).toEqual([9, 18, 27, 36, 45, 54]);
    expect(of((scope, a, _b, c) => scope.mul(a, c))).toEqual([-1, 0, 3, 2, 1.25, -0.75]);
  });

  it("leave their operands alone", () => {
    const graph = graphOf((scope) => {
      const [a, b] = [weight(scope, "a", shape), weight(scope, "b", shape)];
      const sum = scope.add([a, b]);
      return scope.concat([a, sum, b]);
    });
    expect([...run(graph, { state }).y.data]).toEqual([
      ...[1, 2, 3, 4, 5, 6],
      ...[11, 22, 33, 44, 55, 66],
      ...[10, 20, 30, 40, 50, 60],
    ]);
  });
});

describe("mul by a gate [C,1,1]", () => {
  it("scales each channel of each sample by its own value", () => {
    // Squeeze-and-excitation: the gate is computed from the same images.
    const graph = graphOf((scope) => {
      const x = scope.input([3, 2, 2]);
      return scope.mul(x, scope.globalAvgPool(x));
    });
    const x = numbers("x", [2, 3, 2, 2]);
    const plane = (n = 0, c = 0) => [...x.data].slice((n * 3 + c) * 4, (n * 3 + c + 1) * 4);
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / 4;
    expect(run(graph, { images: x }).y).toBeCloseToTensor(
      build([2, 3, 2, 2], ([n = 0, c = 0, h = 0, w = 0]) => {
        const values = plane(n, c);
        return values[h * 2 + w]! * mean(values);
      }),
      { absolute: 1e-15 },
    );
  });

  it("of images with one pixel is the plain product", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([2, 1, 1]);
      return scope.mul(x, x);
    });
    const images = { shape: [2, 2, 1, 1], data: Float64Array.of(1, 2, 3, -4) };
    expect([...run(graph, { images }).y.data]).toEqual([1, 4, 9, 16]);
  });
});

describe("concat", () => {
  it("joins activations along the channels, sample by sample", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([2, 1, 2]);
      return scope.concat([x, scope.relu(x)]);
    });
    const images = { shape: [2, 2, 1, 2], data: Float64Array.of(1, -2, -3, 4, 5, 6, -7, -8) };
    expect(run(graph, { images }).y).toEqual({
      shape: [2, 4, 1, 2],
      data: Float64Array.of(...[1, -2, -3, 4, 1, 0, 0, 4], ...[5, 6, -7, -8, 5, 6, 0, 0]),
    });
  });

  it("joins weights along the first axis", () => {
    const graph = graphOf((scope) =>
      scope.concat([weight(scope, "a", [1, 2]), weight(scope, "b", [2, 2])]),
    );
    const state = {
      a: [
        [1, 2],
        [1, 2],
      ],
      b: [
        [2, 2],
        [3, 4, 5, 6],
      ],
    } as const;
    expect(run(graph, { state }).y).toEqual({
      shape: [3, 2],
      data: Float64Array.of(1, 2, 3, 4, 5, 6),
    });
  });
});
