// Weight expressions: kernels made of kernels.

import { describe, expect, it } from "@jest/globals";

import type { Float64Tensor, Graph, Scope, Value } from "../../../src/graph/index.js";
import { graphOf, run, weight } from "../../helpers/graphs.js";
import { at, build, numbers } from "../../helpers/numbers.js";

/** Runs an expression over weights w0, w1, ... */
function evaluate(
  operands: readonly Float64Tensor[],
  expression: (scope: Scope, ...values: Value[]) => Value,
): Float64Tensor {
  const graph = graphOf((scope) =>
    expression(scope, ...operands.map(({ shape }, i) => weight(scope, `w${i}`, shape))),
  );
  return run(graph, { state: entries(operands) }).y;
}

const entries = (operands: readonly Float64Tensor[]) =>
  Object.fromEntries(operands.map(({ shape, data }, i) => [`w${i}`, [shape, data] as const]));

const tensor = (shape: number[], ...values: number[]): Float64Tensor => ({
  shape,
  data: Float64Array.from(values),
});

describe("scale, select, reshape, inverseStd, detach", () => {
  it("scale multiplies each row by its factor", () => {
    const w = tensor([2, 1, 1, 3], 1, 2, 3, 4, 5, 6);
    expect(evaluate([w, tensor([2], 10, -1)], (scope, w, s) => scope.scale(w, s))).toEqual(
      tensor([2, 1, 1, 3], 10, 20, 30, -4, -5, -6),
    );
  });

  it("select takes one row, and not its neighbours", () => {
    const w = tensor([3, 1, 2], 1, 2, 3, 4, 5, 6);
    expect(evaluate([w], (scope, w) => scope.select(w, 1))).toEqual(tensor([1, 2], 3, 4));
    expect(evaluate([tensor([2], 7, 8)], (scope, w) => scope.select(w, 1))).toEqual(tensor([], 8));
  });

  it("reshape keeps the order of values", () => {
    const w = tensor([2, 3], 1, 2, 3, 4, 5, 6);
    expect(evaluate([w], (scope, w) => scope.reshape(w, [3, 1, 2]))).toEqual(
      tensor([3, 1, 2], 1, 2, 3, 4, 5, 6),
    );
  });

  it("detach leaves the value as it is", () => {
    const w = tensor([2, 2], 1, -2, 0, 3);
    expect(evaluate([w], (scope, w) => scope.detach(w))).toEqual(w);
  });

  it("inverseStd is 1/sqrt(x + eps)", () => {
    const w = tensor([3], 0, 12, 0.25);
    expect(evaluate([w], (scope, w) => scope.inverseStd(w, 4))).toBeCloseToTensor(
      tensor([3], 0.5, 0.25, 1 / Math.sqrt(4.25)),
    );
  });
});

describe("einsum", () => {
  const a = numbers("a", [2, 3]);
  const b = numbers("b", [4, 5]);
  const c = numbers("c", [3, 4]);
  const kernel = numbers("k", [2, 3, 4, 5]);
  const prior = numbers("p", [2, 4, 5]);
  const over = (count: number, term: (index: number) => number) =>
    Array.from({ length: count }, (_, index) => term(index)).reduce((sum, x) => sum + x, 0);

  it.each<[string, Float64Tensor[], number[], (place: number[]) => number]>([
    ["ij->ji", [a], [3, 2], ([j = 0, i = 0]) => at(a, [i, j])],
    [
      "ij,jk->ik",
      [a, c],
      [2, 4],
      ([i = 0, k = 0]) => over(3, (j) => at(a, [i, j]) * at(c, [j, k])),
    ],
    [
      // Each factor sums over an index of its own: j in the larger, k in the smaller.
      "ij,k->i",
      [a, tensor([2], 5, -7)],
      [2],
      ([i = 0]) => -2 * over(3, (j) => at(a, [i, j])),
    ],
    ["k,ij->i", [tensor([2], 5, -7), a], [2], ([i = 0]) => -2 * over(3, (j) => at(a, [i, j]))],
    [
      "oi,hw->oihw",
      [a, b],
      [2, 3, 4, 5],
      ([o = 0, i = 0, h = 0, w = 0]) => at(a, [o, i]) * at(b, [h, w]),
    ],
    [
      "oi,ohw->oihw",
      [a, prior],
      [2, 3, 4, 5],
      ([o = 0, i = 0, h = 0, w = 0]) => at(a, [o, i]) * at(prior, [o, h, w]),
    ],
    [
      "oihw->io",
      [kernel],
      [3, 2],
      ([i = 0, o = 0]) => over(4, (h) => over(5, (w) => at(kernel, [o, i, h, w]))),
    ],
    [
      "oihw,oi->hw",
      [kernel, a],
      [4, 5],
      ([h = 0, w = 0]) => over(2, (o) => over(3, (i) => at(kernel, [o, i, h, w]) * at(a, [o, i]))),
    ],
    ["ij,ij->", [a, a], [], () => over(2, (i) => over(3, (j) => at(a, [i, j]) ** 2))],
    [
      "ab,cd->",
      [a, b],
      [],
      () =>
        over(2, (i) =>
          over(3, (j) => over(4, (k) => over(5, (l) => at(a, [i, j]) * at(b, [k, l])))),
        ),
    ],
  ])("%s", (equation, operands, shape, value) => {
    expect(
      evaluate(operands, (scope, ...values) => scope.einsum(equation, values)),
    ).toBeCloseToTensor(build(shape, value), { absolute: 1e-14 });
  });

  it("more than a block of the matrix product: ab,bc->ca", () => {
    const [m, n] = [numbers("m", [37, 50]), numbers("n", [50, 270])];
    expect(evaluate([m, n], (scope, m, n) => scope.einsum("ab,bc->ca", [m, n]))).toBeCloseToTensor(
      build([270, 37], ([c = 0, a = 0]) => over(50, (b) => at(m, [a, b]) * at(n, [b, c]))),
      { absolute: 1e-12 },
    );
  });

  it("OREPA's separable term, cithw,ocit->coihw: shared indices of every kind", () => {
    const [dw, pw] = [numbers("dw", [2, 3, 8, 3, 3]), numbers("pw", [5, 2, 3, 8])];
    const result = evaluate([dw, pw], (scope, dw, pw) =>
      scope.einsum("cithw,ocit->coihw", [dw, pw]),
    );
    expect(result).toBeCloseToTensor(
      build([2, 5, 3, 3, 3], ([c = 0, o = 0, i = 0, h = 0, w = 0]) =>
        over(8, (t) => at(dw, [c, i, t, h, w]) * at(pw, [o, c, i, t])),
      ),
      { absolute: 1e-14 },
    );
  });

  it("by hand: the product of two matrices", () => {
    const [m, n] = [tensor([2, 2], 1, 2, 3, 4), tensor([2, 2], 10, 20, 30, 40)];
    expect(evaluate([m, n], (scope, m, n) => scope.einsum("ab,bc->ac", [m, n]))).toEqual(
      tensor([2, 2], 70, 100, 150, 220),
    );
  });
});

describe("embed", () => {
  it("3 into 5, offset 1: abc → 0abc0", () => {
    const w = tensor([1, 1, 1, 3], 1, 2, 3);
    expect(evaluate([w], (scope, w) => scope.embed(w, { kernel: [1, 5], offset: [0, 1] }))).toEqual(
      tensor([1, 1, 1, 5], 0, 1, 2, 3, 0),
    );
  });

  it("dilation 2 with offset 0 and 1: abc → a0b0c0, 0a0b0c", () => {
    const w = tensor([1, 1, 3, 1], 1, 2, 3);
    const embedded = (offset: number) =>
      evaluate([w], (scope, w) =>
        scope.embed(w, { kernel: [6, 1], offset: [offset, 0], dilation: [2, 1] }),
      );
    expect(embedded(0)).toEqual(tensor([1, 1, 6, 1], 1, 0, 2, 0, 3, 0));
    expect(embedded(1)).toEqual(tensor([1, 1, 6, 1], 0, 1, 0, 2, 0, 3));
  });

  it("1x1 at a corner of 2x3, each channel in its place", () => {
    const w = tensor([2, 2, 1, 1], 1, 2, 3, 4);
    expect(evaluate([w], (scope, w) => scope.embed(w, { kernel: [2, 3], offset: [1, 2] }))).toEqual(
      tensor(
        [2, 2, 2, 3],
        ...[0, 0, 0, 0, 0, 1],
        ...[0, 0, 0, 0, 0, 2],
        ...[0, 0, 0, 0, 0, 3],
        ...[0, 0, 0, 0, 0, 4],
      ),
    );
  });

  it("groups 4 in 2: each output keeps its own inputs, zeros for its neighbour's", () => {
    const w = tensor([4, 1, 1, 1], 1, 2, 3, 4);
    const embedded = evaluate([w], (scope, w) =>
      scope.embed(w, { kernel: [1, 1], offset: [0, 0], groups: { from: 4, to: 2 } }),
    );
    expect(embedded).toEqual(tensor([4, 2, 1, 1], 1, 0, 0, 2, 3, 0, 0, 4));
  });

  it.each([
    { from: 2, to: 1, shape: [6, 2, 3, 3] },
    { from: 4, to: 2, shape: [8, 1, 3, 1] },
    { from: 4, to: 1, shape: [4, 1, 1, 3] },
  ])("a convolution of $from groups equals the embedded one of $to, kernel $shape", (options) => {
    const { from, to, shape } = options;
    const w = numbers("w", shape);
    const [out = 0, , kernelH = 0, kernelW = 0] = shape;
    const spread: Graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const groups = { from, to };
      const kernel = [kernelH, kernelW] as const;
      const dense = scope.embed(weight(scope, "w0", shape), { kernel, offset: [0, 0], groups });
      return scope.conv2d(x, dense, undefined, { groups: to });
    });
    const plain = graphOf((scope) =>
      scope.conv2d(scope.input([4, 6, 5]), weight(scope, "w0", shape), undefined, { groups: from }),
    );
    const given = { images: numbers("x", [2, 4, 6, 5]), state: entries([w]) };
    const { y } = run(spread, given);
    expect(y.shape[1]).toBe(out);
    expect(y).toBeCloseToTensor(run(plain, given).y, { absolute: 1e-14 });
  });
});

describe("composeKernels", () => {
  const cases = [
    { groups: 1, first: [5, 4, 1, 1], second: [6, 5, 3, 3] },
    { groups: 1, first: [5, 4, 3, 3], second: [6, 5, 3, 3] },
    { groups: 1, first: [5, 4, 3, 2], second: [6, 5, 1, 4] },
    { groups: 2, first: [6, 2, 1, 1], second: [4, 3, 3, 3] },
    { groups: 2, first: [6, 2, 2, 3], second: [4, 3, 3, 2] },
    { groups: 4, first: [8, 1, 3, 3], second: [4, 2, 3, 1] },
    { groups: 1, first: [40, 4, 1, 1], second: [70, 40, 3, 3] },
    { groups: 2, first: [80, 2, 3, 3], second: [20, 40, 1, 1] },
  ];
  const compose = (
    first: Float64Tensor,
    second: Float64Tensor,
    groups: number,
    correlate = false,
  ) =>
    evaluate([first, second], (scope, first, second) =>
      scope.composeKernels(first, second, { groups, correlate }),
    );

  it.each(cases)(
    "one convolution with it equals two in sequence: groups $groups, $first then $second",
    ({ groups, first, second }) => {
      const [k1, k2] = [numbers("k1", first), numbers("k2", second)];
      const state = entries([k1, k2]);
      const both = graphOf((scope) => {
        const [a, b] = [weight(scope, "w0", first), weight(scope, "w1", second)];
        const inner = scope.conv2d(scope.input([4, 8, 9]), a, undefined, { groups });
        return scope.conv2d(inner, b, undefined, { groups });
      });
      const composed = compose(k1, k2, groups);
      const single = graphOf((scope) => {
        const kernel = weight(scope, "k", composed.shape);
        return scope.conv2d(scope.input([4, 8, 9]), kernel, undefined, { groups });
      });
      const images = numbers("x", [2, 4, 8, 9]);
      const { y } = run(single, { images, state: { k: [composed.shape, composed.data] } });
      expect(y).toBeCloseToTensor(run(both, { images, state }).y, { absolute: 1e-13 });
    },
  );

  it.each(cases)(
    "correlate turns the second by 180 degrees: groups $groups, $first, $second",
    (c) => {
      const [k1, k2] = [numbers("k1", c.first), numbers("k2", c.second)];
      const [, , height = 0, width = 0] = c.second;
      const turned = build(c.second, ([o = 0, t = 0, h = 0, w = 0]) =>
        at(k2, [o, t, height - 1 - h, width - 1 - w]),
      );
      expect(compose(k1, k2, c.groups, true)).toBeCloseToTensor(compose(k1, turned, c.groups), {
        absolute: 1e-14,
      });
    },
  );

  it("by hand: 1 2 then 10 20 is 10 40 40, and 20 50 20 correlated", () => {
    const [first, second] = [tensor([1, 1, 1, 2], 1, 2), tensor([1, 1, 1, 2], 10, 20)];
    expect(compose(first, second, 1)).toEqual(tensor([1, 1, 1, 3], 10, 40, 40));
    expect(compose(first, second, 1, true)).toEqual(tensor([1, 1, 1, 3], 20, 50, 20));
  });
});
