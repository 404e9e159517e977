// Attributes that no builder would write: not numbers, or beyond any memory.

import { describe, expect, it } from "@jest/globals";

import { inferType, type Op, type ValueType } from "../../src/graph/index.js";
import { mismatchOf } from "../helpers/graphs.js";
import { a, avgPool, batchNorm, conv2d, einsum, embed, input, param, w } from "../helpers/types.js";

const HUGE = 2 ** 40;
const kernel = w(4, 2, 3, 3);
const image = a(2, 8, 8);

describe("hostile attributes", () => {
  const hostile: readonly (readonly [name: string, op: Op, inputs: readonly ValueType[]])[] = [
    ["a parameter of 2^40 elements", param({ shape: [HUGE] }), []],
    ["a parameter of 2^31 + 1 elements", param({ shape: [2 ** 31 + 1] }), []],
    ["a count beyond the largest number", param({ shape: Array<number>(40).fill(HUGE) }), []],
    ["a NaN extent", param({ shape: [NaN] }), []],
    ["a fractional extent", param({ shape: [1.5] }), []],
    ["a NaN constant", param({ init: { kind: "constant", value: NaN } }), []],
    ["an infinite row", param({ init: { kind: "rows", values: [0, Infinity] } }), []],
    ["a NaN bound", param({ init: { kind: "uniform", bound: NaN } }), []],
    ["a NaN slope", param({ init: { kind: "kaimingUniform", a: NaN } }), []],
    ["a NaN mean", input({ mean: [0, NaN] }), []],
    ["a NaN std", input({ std: [1, NaN] }), []],
    ["an infinite std", input({ std: [1, Infinity] }), []],
    ["a NaN stride", conv2d({ stride: [NaN, 1] }), [image, kernel]],
    ["an infinite dilation", conv2d({ dilation: [Infinity, 1] }), [image, kernel]],
    ["a dilation of 2^40", conv2d({ dilation: [HUGE, 1] }), [image, kernel]],
    ["a NaN padding", conv2d({ padding: [NaN, 0, 0, 0] }), [image, kernel]],
    ["a padding of 2^40", conv2d({ padding: [HUGE, 0, 0, 0] }), [image, kernel]],
    ["a padding beyond 2^53", conv2d({ padding: [2 ** 60, 0, 0, 0] }), [image, kernel]],
    ["NaN groups", conv2d({ groups: NaN }), [image, kernel]],
    ["a NaN eps", batchNorm({ eps: NaN }), [image, w(2), w(2), w(2), w(2)]],
    ["an infinite eps", batchNorm({ eps: Infinity }), [image, w(2), w(2), w(2), w(2)]],
    ["a NaN momentum", batchNorm({ momentum: NaN }), [image, w(2), w(2), w(2), w(2)]],
    ["a border of 2^40", batchNorm({ pad: [0, HUGE, 0, 0] }), [image, w(2), w(2), w(2), w(2)]],
    ["a pool of 2^40", avgPool({ kernel: [HUGE, 1] }), [image]],
    ["a NaN eps of inverseStd", { kind: "inverseStd", eps: NaN }, [w(2)]],
    ["an embedding in 2^40 pixels", embed({ kernel: [HUGE, 1], offset: [0, 0] }), [w(1, 1, 1, 1)]],
    ["a NaN offset", embed({ offset: [NaN, 0] }), [w(1, 1, 1, 1)]],
    ["NaN groups of embed", embed({ groups: { from: NaN, to: 1 } }), [w(1, 1, 1, 1)]],
    ["a NaN row", { kind: "select", index: NaN }, [w(2, 3)]],
    ["a fractional row", { kind: "select", index: 0.5 }, [w(2, 3)]],
    ["a NaN shape", { kind: "reshape", shape: [NaN] }, [w(1)]],
    ["a product of 2^40 elements", einsum("a,b->ab"), [w(2 ** 20), w(2 ** 20)]],
    ["an equation of another alphabet", einsum("α->α"), [w(2)]],
    ["an equation with an end of line", einsum("a->a\n"), [w(2)]],
  ];

  it.each(hostile)("%s is refused", (_name, op, inputs) => {
    expect(mismatchOf(() => inferType(op, inputs))).toMatchObject({ op: op.kind });
  });

  it("2^31 elements are the most", () => {
    expect(inferType(param({ shape: [2 ** 31] }), [])).toEqual(w(2 ** 31));
    expect(mismatchOf(() => inferType(param({ shape: [2 ** 31, 2] }), []))).toEqual({
      node: "",
      op: "param",
      what: "result",
      expected: "at most 2147483648 elements",
      found: "(2147483648,2)",
    });
  });
});
