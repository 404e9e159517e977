// Convolution and linear layers against their definitions.

import { describe, expect, it } from "@jest/globals";

import type { Padding, Pair } from "../../../src/graph/index.js";
import { convolve, convolveSquare } from "../../helpers/definitions.js";
import { graphOf, run, weight } from "../../helpers/graphs.js";
import { at, build, numbers } from "../../helpers/numbers.js";

/** Sums of at most 101 products below 1, in another order: 101 * 101 * 2^-53. */
const ROUNDING = { absolute: 1.2e-12 };

const KERNELS: readonly Pair[] = [
  [1, 1],
  [3, 3],
  [5, 5],
  [1, 3],
  [5, 1],
];
const GROUPS = [
  { groups: 1, out: 6 },
  { groups: 2, out: 6 },
  { groups: 4, out: 4 },
  { groups: 4, out: 8 },
];
const STRIDES: readonly Pair[] = [
  [1, 1],
  [2, 2],
  [1, 2],
];
const PADDINGS: readonly Padding[] = [
  [0, 0, 0, 0],
  [2, 2, 2, 2],
  [1, 0, 3, 2],
  [-1, -1, 0, 0],
  [-1, 0, 2, -1],
];
const DILATIONS: readonly Pair[] = [
  [1, 1],
  [2, 2],
  [2, 1],
];

describe("conv2d", () => {
  const x = numbers("x", [2, 4, 11, 12]);

  describe.each(KERNELS)("%ix%i", (kernelH, kernelW) => {
    it.each(GROUPS)(
      "groups $groups, 4 → $out channels, over strides, paddings and dilations",
      ({ groups, out }) => {
        const shape = [out, 4 / groups, kernelH, kernelW];
        const w = numbers("w", shape);
        const b = numbers("b", [out]);
        for (const stride of STRIDES) {
          for (const padding of PADDINGS) {
            for (const dilation of DILATIONS) {
              const options = { stride, padding, dilation, groups };
              const withBias = padding[0] === 2;
              const graph = graphOf((scope) => {
                const image = scope.input([4, 11, 12]);
                const kernel = weight(scope, "w", shape);
                const bias = withBias ? weight(scope, "b", [out]) : undefined;
                return scope.conv2d(image, kernel, bias, options);
              });
              const state = { w: [w.shape, w.data], b: [b.shape, b.data] } as const;
              const { y } = run(graph, { images: x, state });
              expect(y).toBeCloseToTensor(
                convolve(x, w, withBias ? b : undefined, options),
                ROUNDING,
              );
              expect(y.shape.slice(1)).toEqual(graph.nodes.at(-1)!.type.shape);
            }
          }
        }
      },
    );
  });

  it.each([
    { out: 37, inputs: 9, groups: 1, stride: 1 },
    { out: 33, inputs: 9, groups: 3, stride: 1 },
    { out: 70, inputs: 6, groups: 1, stride: 2 },
  ])("more channels and pixels than a block of the matrix product: %j", (options) => {
    const { out, inputs, groups, stride } = options;
    const size = stride * 18;
    const wide = numbers("x", [1, inputs, size, size]);
    const w = numbers("w", [out, inputs / groups, 3, 3]);
    const graph = graphOf((scope) =>
      scope.conv2d(scope.input([inputs, size, size]), weight(scope, "w", w.shape), undefined, {
        ...{ groups, stride },
        padding: 1,
      }),
    );
    const { y } = run(graph, { images: wide, state: { w: [w.shape, w.data] } });
    expect(y.shape).toEqual([1, out, 18, 18]);
    expect(y).toBeCloseToTensor(convolveSquare(wide, w, { groups, stride, padding: 1 }), ROUNDING);
  });

  it("by hand: 2x2 on 3x3, stride 2, padding 1 at the top and left", () => {
    const graph = graphOf((scope) =>
      scope.conv2d(scope.input([1, 3, 3]), weight(scope, "w", [1, 1, 2, 2]), undefined, {
        stride: 2,
        padding: [1, 0, 1, 0],
      }),
    );
    const { y } = run(graph, {
      images: { shape: [1, 1, 3, 3], data: Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9) },
      state: {
        w: [
          [1, 1, 2, 2],
          [1, 10, 100, 1000],
        ],
      },
    });
    // Windows 0 0/0 1, 0 0/2 3, 0 4/0 7, 5 6/8 9.
    expect(y).toEqual({ shape: [1, 1, 2, 2], data: Float64Array.of(1000, 3200, 7040, 9865) });
  });

  it("a weight of zero hides nothing of what the others add", () => {
    const graph = graphOf((scope) =>
      scope.conv2d(scope.input([2, 1, 1]), weight(scope, "w", [1, 2, 1, 1]), undefined),
    );
    const { y } = run(graph, {
      images: { shape: [2, 2, 1, 1], data: Float64Array.of(5, 7, 11, 13) },
      state: {
        w: [
          [1, 2, 1, 1],
          [0, 2],
        ],
      },
    });
    expect([...y.data]).toEqual([14, 26]);
  });
});

describe("linear", () => {
  it.each([
    [1, 300, 5],
    [5, 40, 300],
    [40, 7, 33],
  ])("%i samples of %i features to %i outputs", (batch, features, out) => {
    const x = numbers("x", [batch, features, 1, 1]);
    const [w, b] = [numbers("w", [out, features]), numbers("b", [out])];
    const graph = graphOf((scope) =>
      scope.linear(
        scope.flatten(scope.input([features, 1, 1])),
        weight(scope, "w", w.shape),
        weight(scope, "b", b.shape),
      ),
    );
    const state = { w: [w.shape, w.data], b: [b.shape, b.data] } as const;
    const expected = build([batch, out], ([n = 0, o = 0]) => {
      let sum = b.data[o]!;
      for (let i = 0; i < features; i++) sum += at(w, [o, i]) * at(x, [n, i, 0, 0]);
      return sum;
    });
    expect(run(graph, { images: x, state }).y).toBeCloseToTensor(expected, { absolute: 1e-11 });
  });

  it.each([
    ["without bias", undefined, [14, 32, 32, 77]],
    ["with bias", [0.5, -1], [14.5, 31, 32.5, 76]],
  ] as const)("%s: [2,3] by [2,3]", (_name, bias, expected) => {
    const graph = graphOf((scope) => {
      const features = scope.flatten(scope.input([3, 1, 1]));
      const w = weight(scope, "w", [2, 3]);
      return scope.linear(features, w, bias && weight(scope, "b", [2]));
    });
    const { y } = run(graph, {
      images: { shape: [2, 3, 1, 1], data: Float64Array.of(1, 2, 3, 4, 5, 6) },
      state: {
        w: [
          [2, 3],
          [1, 2, 3, 4, 5, 6],
        ],
        b: [[2], bias ?? [0, 0]],
      },
    });
    expect(y).toEqual({ shape: [2, 2], data: Float64Array.from(expected) });
  });
});
