// The type of every op's result, by PyTorch's rules for shapes.

import { describe, expect, it } from "@jest/globals";

import {
  formatType,
  inferType,
  type Op,
  type ValueType,
  windowExtent,
} from "../../src/graph/index.js";
import {
  a,
  avgPool,
  batchNorm,
  compose,
  conv2d,
  embed,
  maxPool,
  param,
  w,
} from "../helpers/types.js";

const KERNEL = [64, 3, 7, 7] as const;

const RESULTS: readonly (readonly [op: Op, inputs: ValueType[], result: ValueType])[] = [
  [{ kind: "input", shape: [3, 8, 6], mean: [0, 0, 0], std: [1, 1, 1] }, [], a(3, 8, 6)],
  [param({ shape: KERNEL, init: { kind: "kaimingUniform", a: 1 } }), [], w(...KERNEL)],
  [param({ shape: [], dtype: "i64", role: "buffer" }), [], w()],
  [{ kind: "constant", shape: [4, 2, 1, 1], fill: { kind: "identity" } }, [], w(4, 2, 1, 1)],
  [{ kind: "constant", shape: [2, 5], fill: { kind: "rows", values: [1, 2] } }, [], w(2, 5)],
  [{ kind: "constant", shape: [4, 3, 3], fill: { kind: "frequencyPrior" } }, [], w(4, 3, 3)],

  [conv2d(), [a(3, 9, 8), w(...KERNEL)], a(64, 3, 2)],
  [
    conv2d({ stride: [2, 2], padding: [3, 3, 3, 3] }),
    [a(3, 224, 224), w(...KERNEL)],
    a(64, 112, 112),
  ],
  [conv2d({ stride: [2, 1], padding: [1, 1, 0, 0] }), [a(2, 7, 7), w(5, 2, 3, 1)], a(5, 4, 7)],
  [conv2d({ padding: [2, 0, 1, 3] }), [a(2, 5, 5), w(1, 2, 3, 3)], a(1, 5, 7)],
  [conv2d({ padding: [-1, -1, 0, 0] }), [a(2, 5, 5), w(1, 2, 1, 3)], a(1, 3, 3)],
  [conv2d({ dilation: [2, 3], padding: [2, 2, 3, 3] }), [a(2, 5, 5), w(1, 2, 3, 3)], a(1, 5, 5)],
  [conv2d({ groups: 2 }), [a(4, 5, 5), w(6, 2, 1, 1)], a(6, 5, 5)],
  [conv2d({ groups: 4 }), [a(4, 5, 5), w(8, 1, 5, 5), w(8)], a(8, 1, 1)],

  [batchNorm(), [a(4, 5, 6), w(4), w(4), w(4), w(4)], a(4, 5, 6)],
  [batchNorm(), [a(4, 5, 6), w(4), w(4), w(4), w(4), w()], a(4, 5, 6)],
  [batchNorm({ pad: [1, 2, 3, 4] }), [a(4, 5, 6), w(4), w(4), w(4), w(4)], a(4, 8, 13)],
  [{ kind: "relu" }, [a(4, 5, 6)], a(4, 5, 6)],
  [{ kind: "silu" }, [a(4)], a(4)],
  [{ kind: "sigmoid" }, [a(4, 1, 1)], a(4, 1, 1)],
  [maxPool(), [a(4, 5, 6)], a(4, 2, 3)],
  [maxPool({ kernel: [3, 3], padding: [1, 1, 1, 1] }), [a(64, 112, 112)], a(64, 56, 56)],
  [avgPool({ kernel: [3, 1], stride: [1, 2], padding: [1, 0, 0, 0] }), [a(2, 5, 5)], a(2, 4, 3)],
  [{ kind: "globalAvgPool" }, [a(512, 7, 5)], a(512, 1, 1)],
  [{ kind: "flatten" }, [a(512, 2, 3)], a(3072)],
  [{ kind: "linear" }, [a(512), w(10, 512)], a(10)],
  [{ kind: "linear" }, [a(512), w(10, 512), w(10)], a(10)],

  [{ kind: "add" }, [a(4, 5, 6), a(4, 5, 6), a(4, 5, 6)], a(4, 5, 6)],
  [{ kind: "add" }, [w(4, 5), w(4, 5)], w(4, 5)],
  [{ kind: "mul" }, [a(4, 5, 6), a(4, 5, 6)], a(4, 5, 6)],
  [{ kind: "mul" }, [a(4, 5, 6), a(4, 1, 1)], a(4, 5, 6)],
  [{ kind: "mul" }, [w(4), w(4)], w(4)],
  [{ kind: "concat" }, [a(4, 5, 6), a(1, 5, 6), a(2, 5, 6)], a(7, 5, 6)],
  [{ kind: "concat" }, [a(4), a(3)], a(7)],
  [{ kind: "concat" }, [w(4, 5), w(1, 5)], w(5, 5)],

  [{ kind: "sub" }, [w(4, 5), w(4, 5)], w(4, 5)],
  [{ kind: "inverseStd", eps: 1e-5 }, [w(4)], w(4)],
  [{ kind: "scale" }, [w(4, 3, 2, 1), w(4)], w(4, 3, 2, 1)],
  [{ kind: "scale" }, [w(4), w(4)], w(4)],
  [{ kind: "einsum", equation: "oi,hw->oihw" }, [w(2, 3), w(4, 5)], w(2, 3, 4, 5)],
  [{ kind: "einsum", equation: "oihw->io" }, [w(2, 3, 4, 5)], w(3, 2)],
  [{ kind: "einsum", equation: "ab,ab->" }, [w(2, 3), w(2, 3)], w()],
  [{ kind: "einsum", equation: ",a->a" }, [w(), w(3)], w(3)],
  [embed(), [w(2, 3, 1, 1)], w(2, 3, 3, 3)],
  [embed({ kernel: [5, 8], offset: [0, 1], dilation: [2, 3] }), [w(2, 3, 3, 3)], w(2, 3, 5, 8)],
  [embed({ groups: { from: 6, to: 2 } }), [w(6, 1, 1, 1)], w(6, 3, 3, 3)],
  [compose(), [w(7, 3, 1, 1), w(5, 7, 3, 5)], w(5, 3, 3, 5)],
  [compose({ groups: 2, correlate: true }), [w(6, 4, 3, 3), w(8, 3, 3, 3)], w(8, 4, 5, 5)],
  [{ kind: "reshape", shape: [6, 4] }, [w(2, 3, 4)], w(6, 4)],
  [{ kind: "reshape", shape: [] }, [w(1, 1)], w()],
  [{ kind: "select", index: 1 }, [w(2, 3, 4)], w(3, 4)],
  [{ kind: "select", index: 0 }, [w(2)], w()],
  [{ kind: "detach" }, [w(2, 3)], w(2, 3)],
];

describe("inferType", () => {
  it.each(
    RESULTS.map(([op, inputs, result]) => {
      const { kind, ...attributes } = op;
      const call = `${kind}(${inputs.map(formatType).join(", ")}) ${JSON.stringify(attributes)}`;
      return [call, formatType(result), op, inputs] as const;
    }),
  )("%s → %s", (_call, expected, op, inputs) => {
    expect(formatType(inferType(op, inputs))).toBe(expected);
  });

  it("was asked about every op", () => {
    const kinds = new Set(RESULTS.map(([op]) => op.kind));
    expect([...kinds].sort()).toEqual(
      [
        ...["input", "param", "constant", "conv2d", "batchNorm", "relu", "silu", "sigmoid"],
        ...["maxPool", "avgPool", "globalAvgPool", "flatten", "linear", "add", "mul", "concat"],
        ...["sub", "inverseStd", "scale", "einsum", "embed", "composeKernels", "reshape", "select"],
        "detach",
      ].sort(),
    );
  });
});

describe("windowExtent counts the places of a window", () => {
  /** By definition: starts 0, stride, 2*stride, ... whose whole reach lies in the padded line. */
  function placesOf(size: number, window: Parameters<typeof windowExtent>[1]): number {
    const { kernel, stride, dilation, before, after } = window;
    let places = 0;
    for (let start = -before; start + dilation * (kernel - 1) < size + after; start += stride) {
      places++;
    }
    return places;
  }

  const grid = [1, 2, 3, 5].flatMap((kernel) =>
    [1, 2, 3].flatMap((stride) =>
      [1, 2].flatMap((dilation) =>
        [
          [0, 0],
          [1, 1],
          [2, 0],
          [0, 3],
          [-1, -1],
          [-2, 1],
        ].map(([before = 0, after = 0]) => ({ kernel, stride, dilation, before, after })),
      ),
    ),
  );

  it.each([9, 10, 11, 16])("size %i, over kernels, strides, dilations and paddings", (size) => {
    // Where not even one window fits, the formula may go below zero; no op takes that for a size.
    expect(grid.map((window) => Math.max(0, windowExtent(size, window)))).toEqual(
      grid.map((window) => placesOf(size, window)),
    );
  });

  it.each([
    ["7x7 stride 2 padding 3 on 224 (a ResNet stem)", 224, 7, 2, 1, 3, 3, 112],
    ["3x3 dilation 2 padding 2 keeps the size", 17, 3, 1, 2, 2, 2, 17],
    ["padding -1 crops a pixel on each side", 5, 1, 1, 1, -1, -1, 3],
    ["padding -2 and 0 crop one side alone", 5, 1, 1, 1, -2, 0, 3],
    ["a window of the very size", 5, 5, 3, 1, 0, 0, 1],
    ["a window larger than the line has no place", 4, 5, 1, 1, 0, 0, 0],
  ])("%s", (_name, size, kernel, stride, dilation, before, after, expected) => {
    expect(windowExtent(size, { kernel, stride, dilation, before, after })).toBe(expected);
  });
});
