// Dense tensors on the JavaScript side.

import { describe, expect, it } from "@jest/globals";

import {
  elementCount,
  formatShape,
  sameShape,
  tensor64,
  toFloat32,
  toFloat64,
} from "../../src/graph/index.js";
import { errorOf } from "../helpers/graphs.js";

describe("shapes", () => {
  it("of a scalar have one element, of an empty axis none", () => {
    expect(elementCount([])).toBe(1);
    expect(elementCount([2, 3, 4])).toBe(24);
    expect(elementCount([2, 0, 4])).toBe(0);
  });

  it("are the same when rank and extents are", () => {
    expect(sameShape([2, 3], [2, 3])).toBe(true);
    expect(sameShape([], [])).toBe(true);
    expect(sameShape([2, 3], [3, 2])).toBe(false);
    expect(sameShape([2, 3], [2, 3, 1])).toBe(false);
  });

  it("print in round brackets", () => {
    expect([[], [5], [64, 3, 7, 7]].map(formatShape)).toEqual(["()", "(5)", "(64,3,7,7)"]);
  });
});

describe("tensor64", () => {
  it("takes numbers, or zeros", () => {
    expect(tensor64([2, 2], [1, 2, 3, 4])).toEqual({
      shape: [2, 2],
      data: Float64Array.of(1, 2, 3, 4),
    });
    expect(tensor64([3])).toEqual({ shape: [3], data: new Float64Array(3) });
  });

  it("counts them", () => {
    expect(errorOf(() => tensor64([2, 2], [1, 2, 3]))).toEqual({
      kind: "internal",
      message: "tensor of shape (2,2) needs 4 values, received 3",
    });
  });
});

describe("conversions", () => {
  it("round once to float32, as Math.fround does", () => {
    const values = [0.1, 1 + 2 ** -24, 1 + 2 ** -23, -0, 1e300];
    expect(toFloat32(tensor64([5], values)).data).toEqual(
      Float32Array.of(Math.fround(0.1), 1, 1 + 2 ** -23, -0, Infinity),
    );
  });

  it("read 64-bit integers as numbers", () => {
    const counter = { shape: [2], data: BigInt64Array.of(7n, -(2n ** 40n)) };
    expect(toFloat64(counter).data).toEqual(Float64Array.of(7, -(2 ** 40)));
    expect(toFloat32(counter).data).toEqual(Float32Array.of(7, -(2 ** 40)));
  });

  it("do not copy what has the type already", () => {
    const [double, single] = [tensor64([1]), { shape: [1], data: new Float32Array(1) }];
    expect(toFloat64(double).data).toBe(double.data);
    expect(toFloat32(single).data).toBe(single.data);
  });
});
