// Asymmetric convolution blocks: three branches with one centre.

import { describe, expect, it } from "@jest/globals";

import { acbBlock, convSpec } from "../../src/blocks/index.js";
import { initialState } from "../../src/graph/index.js";
import { convolve, normalise, sum, tensorOf } from "../helpers/definitions.js";
import { filledState } from "../helpers/fill.js";
import { mismatchOf } from "../helpers/graphs.js";
import { numbers } from "../helpers/numbers.js";
import { blockOf, evaluate, expectConvolution, outputShape, stateNames } from "../helpers/probe.js";

describe("branches", () => {
  it("are a square, a column and a row", () => {
    const graph = blockOf(acbBlock(), 4, { out: 6, kernel: 5, groups: 2 });
    expect(stateNames(graph)).toEqual([
      ...["square_conv.weight", "square_bn.*"],
      ...["ver_conv.weight", "hor_conv.weight", "ver_bn.*", "hor_bn.*"],
    ]);
    const kernels = graph.nodes.flatMap(({ op }) =>
      op.kind === "param" && op.decay === "kernel" ? [op.shape] : [],
    );
    expect(kernels).toEqual([
      [6, 2, 5, 5],
      [6, 2, 5, 1],
      [6, 2, 1, 5],
    ]);
  });

  it.each([
    { kernel: 3 },
    { kernel: 3, stride: 2 },
    { kernel: 3, padding: 0 },
    { kernel: 5, padding: 1 },
    { kernel: 5, padding: 4 },
    { kernel: 3, groups: 2 },
    { kernel: 3, groups: 4, out: 4 },
    { kernel: 3, dilation: 2 },
    { kernel: 3, dilation: 2, padding: 1 },
    { kernel: 5, dilation: 2, stride: 2 },
    { kernel: 1 },
  ])("are one convolution: %j", (spec) => {
    expectConvolution(acbBlock(), 4, { out: 6, ...spec });
  });

  it.each([
    { kernel: 3, padding: 2, dilation: 2, stride: 1 },
    { kernel: 3, padding: 1, dilation: 2, stride: 2 },
    { kernel: 5, padding: 2, dilation: 1, stride: 1 },
    { kernel: 5, padding: 0, dilation: 1, stride: 1 },
  ])("add up as drawn: %j", ({ kernel, padding: p, dilation, stride }) => {
    const graph = blockOf(acbBlock(), 3, { out: 5, kernel, padding: p, dilation, stride });
    const state = filledState(graph);
    const x = numbers("x", [2, 3, 9, 9]);
    const branch = (name: string, padding: readonly [number, number, number, number]) => {
      const window = { padding, stride: [stride, stride], dilation: [dilation, dilation] } as const;
      const w = tensorOf(state, `${name}_conv.weight`);
      return normalise(convolve(x, w, undefined, { ...window, groups: 1 }), state, `${name}_bn`);
    };
    // The line's window starts `reach` pixels further in along the axis in which it has no extent.
    const inner = p - dilation * ((kernel - 1) / 2);
    expect(evaluate(graph, state, x)).toBeCloseToTensor(
      sum(
        branch("square", [p, p, p, p]),
        branch("ver", [p, p, inner, inner]),
        branch("hor", [inner, inner, p, p]),
      ),
      { relative: 1e-14 },
    );
  });
});

describe("output size", () => {
  it.each([
    [{ kernel: 3, dilation: 2 }, [9, 9]],
    [{ kernel: 3, dilation: 2, padding: 0 }, [5, 5]],
    [{ kernel: 5, dilation: 2, stride: 2 }, [5, 5]],
    [{ kernel: 5, padding: 4 }, [13, 13]],
  ])("%j is that of the plain convolution, in both structures", (spec, size) => {
    for (const structure of ["train", "deploy"] as const) {
      const graph = blockOf(acbBlock(), 4, { out: 6, ...spec }, { structure });
      expect(outputShape(graph)).toEqual([6, ...size]);
    }
  });

  it("an image that is too small is refused", () => {
    expect(
      mismatchOf(() =>
        blockOf(acbBlock(), 4, convSpec({ out: 6, kernel: 5, padding: 0 }), { size: 4 }),
      ),
    ).toMatchObject({ node: "square_conv", op: "conv2d", found: "4x4" });
  });
});

describe("initial gammas", () => {
  const gammas = (block: ReturnType<typeof acbBlock>) => {
    const state = initialState(blockOf(block, 4, { out: 6, kernel: 3 }), 0);
    return ["square", "ver", "hor"].map((name) => [
      ...new Set(tensorOf(state, `${name}_bn.weight`).data),
    ]);
  };

  it.each([
    ["by default all are 1", {}, [[1], [1], [1]]],
    [
      "gamma 1/3",
      { gamma: 1 / 3 },
      [[Math.fround(1 / 3)], [Math.fround(1 / 3)], [Math.fround(1 / 3)]],
    ],
    ["singleInit: the square alone", { singleInit: true }, [[1], [0], [0]]],
  ])("%s", (_name, options, expected) => {
    expect(gammas(acbBlock(options))).toEqual(expected);
  });

  it("singleInit starts as the square convolution and its batch norm", () => {
    const graph = blockOf(acbBlock({ singleInit: true }), 4, { out: 6, kernel: 3 });
    const state = initialState(graph, 5);
    const x = numbers("x", [1, 4, 9, 9]);
    const square = convolve(x, tensorOf(state, "square_conv.weight"), undefined, {
      padding: [1, 1, 1, 1],
      stride: [1, 1],
      dilation: [1, 1],
      groups: 1,
    });
    expect(evaluate(graph, state, x)).toBeCloseToTensor(normalise(square, state, "square_bn"), {
      relative: 1e-14,
    });
  });
});
