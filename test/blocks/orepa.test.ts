// OREPA: kernels as expressions, computed here from their formulas.

import { describe, expect, it } from "@jest/globals";

import {
  orepa1x1Block,
  orepaBlock,
  orepaLargeBaseBlock,
  orepaLargeBlock,
  orepaVggBlock,
} from "../../src/blocks/index.js";
import { type Float64Tensor, initialState, type State } from "../../src/graph/index.js";
import { convolveSquare, normalise, tensorOf } from "../helpers/definitions.js";
import { filledState } from "../helpers/fill.js";
import { at, build, numbers } from "../helpers/numbers.js";
import { blockOf, evaluate, expectConvolution, outputShape, stateNames } from "../helpers/probe.js";

const over = (count: number, term: (index: number) => number) => {
  let total = 0;
  for (let index = 0; index < count; index++) total += term(index);
  return total;
};

/** OREPA's kernel element by element, as the reference's README and code describe it. */
function orepaKernel(
  state: State,
  prefix: string,
  { inputs, out, k, groups }: { inputs: number; out: number; k: number; groups: number },
): Float64Tensor {
  const w = (name: string) => tensorOf(state, `${prefix}weight_orepa_${name}`);
  const vector = tensorOf(state, `${prefix}vector`);
  const [perGroup, outPerGroup] = [inputs / groups, out / groups];
  const inner = groups <= 4 ? inputs : 2 * inputs;
  const innerPerGroup = inner / groups;
  const [first, second] = [w("1x1_kxk_idconv1"), w("1x1_kxk_conv2")];
  const [dw, pw] = [w("gconv_dw"), w("gconv_pw")];
  const middle = (k - 1) / 2;
  return build([out, perGroup, k, k], ([o = 0, i = 0, h = 0, v = 0]) => {
    const group = Math.floor(o / outPerGroup);
    const wave = o < out / 2 ? (h + 0.5) * (o + 1) : (v + 0.5) * (o + 1 - out / 2);
    const prior = Math.fround(Math.cos((Math.PI * wave) / k));
    const average = Math.fround(1 / k ** 2);
    const sequence = over(innerPerGroup, (t) => {
      const row = group * innerPerGroup + t;
      const identity = i === row % perGroup ? 1 : 0;
      return at(second, [o, t, h, v]) * (at(first, [row, i, 0, 0]) + identity);
    });
    // Output `o` of its group is row `(o mod outPerGroup) * groups + group` of the pointwise kernel.
    const interleaved = (o % outPerGroup) * groups + group;
    const separable = over(8, (t) => {
      const depth = (group * perGroup + i) * 8 + t;
      return at(pw, [interleaved, i * 8 + t, 0, 0]) * at(dw, [depth, 0, h, v]);
    });
    const terms = [
      at(w("origin"), [o, i, h, v]),
      at(w("avg_conv"), [o, i, 0, 0]) * average,
      at(w("pfir_conv"), [o, i, 0, 0]) * prior,
      sequence,
      h === middle && v === middle ? at(w("1x1"), [o, i, 0, 0]) : 0,
      separable,
    ];
    return terms.reduce((total, term, row) => total + at(vector, [row, o]) * term, 0);
  });
}

/** Full cross-correlation of two kernels in sequence, `second` unflipped: how the reference merges. */
function merge(first: Float64Tensor, second: Float64Tensor, groups: number): Float64Tensor {
  const [inner = 0, perGroup = 0, k1 = 0] = first.shape;
  const [out = 0, , k2 = 0] = second.shape;
  const size = k1 + k2 - 1;
  return build([out, perGroup, size, size], ([o = 0, i = 0, h = 0, w = 0]) => {
    const start = Math.floor((o * groups) / out) * (inner / groups);
    return over(inner / groups, (t) =>
      over(k2, (u) =>
        over(k2, (v) => {
          // Output pixel (h, w) of first padded by k2 - 1.
          const [row, column] = [h + u - (k2 - 1), w + v - (k2 - 1)];
          const inside = row >= 0 && row < k1 && column >= 0 && column < k1;
          return inside ? at(first, [start + t, i, row, column]) * at(second, [o, t, u, v]) : 0;
        }),
      ),
    );
  });
}

const x = numbers("x", [2, 8, 9, 9]);

describe("OREPA", () => {
  it.each([
    { k: 3, groups: 1, out: 12 },
    { k: 5, groups: 1, out: 12 },
    { k: 5, groups: 2, out: 12 },
    { k: 3, groups: 8, out: 16 },
    { k: 1, groups: 1, out: 3 },
  ])("is the convolution of its formula: %j", ({ k, groups, out }) => {
    const graph = blockOf(orepaBlock(), 8, { out, kernel: k, groups });
    const state = filledState(graph);
    const kernel = orepaKernel(state, "", { inputs: 8, out, k, groups });
    const y = convolveSquare(x, kernel, { padding: (k - 1) / 2, groups });
    expect(evaluate(graph, state, x)).toBeCloseToTensor(normalise(y, state, "bn"), {
      relative: 1e-13,
    });
  });

  it.each([
    { kernel: 3, dilation: 2 },
    { kernel: 5, stride: 2 },
    { kernel: 3, padding: 0 },
    { kernel: 3, groups: 4 },
  ])("folds and keeps its output size: %j", (spec) => {
    expectConvolution(orepaBlock(), 8, { out: 12, ...spec });
  });

  it.each([
    [{}, 2, [8, 4, 1, 1], [12, 4, 3, 3]],
    [{}, 8, [16, 1, 1, 1], [16, 2, 3, 3]],
    [{ innerChannels: 16 }, 2, [16, 4, 1, 1], [12, 8, 3, 3]],
  ])("inner width with %j and %i groups: %j then %j", (options, groups, first, second) => {
    const out = groups === 8 ? 16 : 12;
    const state = initialState(blockOf(orepaBlock(options), 8, { out, kernel: 3, groups }), 0);
    expect(state.get("weight_orepa_1x1_kxk_idconv1")?.shape).toEqual(first);
    expect(state.get("id_tensor")?.shape).toEqual(first);
    expect(state.get("weight_orepa_1x1_kxk_conv2")?.shape).toEqual(second);
  });

  it("singleInit starts as its plain kernel", () => {
    const graph = blockOf(orepaBlock({ singleInit: true }), 8, { out: 12, kernel: 3 });
    const state = initialState(graph, 4);
    const y = convolveSquare(x, tensorOf(state, "weight_orepa_origin"), { padding: 1 });
    expect(evaluate(graph, state, x)).toBeCloseToTensor(normalise(y, state, "bn"), {
      relative: 1e-14,
    });
  });
});

describe("OREPA_1x1", () => {
  it.each([
    ["expanding", 8, 12],
    ["equal", 8, 8],
    ["reducing", 8, 4],
  ])("%s %i → %i: origin scaled, plus the product scaled", (_name, inputs, out) => {
    const graph = blockOf(orepa1x1Block(), inputs, { out, kernel: 1 });
    const state = filledState(graph);
    const w = (name: string) => tensorOf(state, `weight_or1x1_${name}`);
    const vector = tensorOf(state, "vector");
    const inner = Math.min(inputs, out);
    expect(w("l2i_conv1").shape).toEqual([inner, inputs, 1, 1]);
    expect(w("l2i_conv2").shape).toEqual([out, inner, 1, 1]);
    const kernel = build([out, inputs, 1, 1], ([o = 0, i = 0]) => {
      const product = over(
        inner,
        (t) => at(w("l2i_conv2"), [o, t, 0, 0]) * at(w("l2i_conv1"), [t, i, 0, 0]),
      );
      return at(vector, [0, o]) * at(w("origin"), [o, i, 0, 0]) + at(vector, [1, o]) * product;
    });
    expect(evaluate(graph, state, x)).toBeCloseToTensor(
      normalise(convolveSquare(x, kernel), state, "bn"),
      { relative: 1e-13 },
    );
  });

  it.each([
    [undefined, [1, 0.5]],
    [true, [1, 0]],
  ])("singleInit %s: rows of vector start at %j", (singleInit, rows) => {
    const block = orepa1x1Block(singleInit === undefined ? {} : { singleInit });
    const state = initialState(blockOf(block, 8, { out: 3, kernel: 1 }), 0);
    expect([...tensorOf(state, "vector").data]).toEqual(rows.flatMap((row) => [row, row, row]));
  });
});

describe("OREPA_LargeConv", () => {
  // Reference: the inner layers ignore groups, and fail.
  it.each([
    { k: 5, groups: 1 },
    { k: 7, groups: 1 },
    { k: 5, groups: 2 },
    { k: 7, groups: 4 },
  ])("merges its 3x3 kernels by correlation: %j", ({ k, groups }) => {
    const graph = blockOf(orepaLargeBlock, 8, { out: 12, kernel: k, groups });
    const state = filledState(graph);
    const layers = Array.from({ length: (k - 1) / 2 }, (_, layer) =>
      orepaKernel(state, `weight${layer}.`, {
        inputs: layer === 0 ? 8 : 12,
        out: 12,
        k: 3,
        groups,
      }),
    );
    const kernel = layers.reduce((first, second) => merge(first, second, groups));
    const y = convolveSquare(x, kernel, { padding: (k - 1) / 2, groups });
    expect(evaluate(graph, state, x)).toBeCloseToTensor(normalise(y, state, "bn"), {
      relative: 1e-12,
    });
  });

  it("base: the same of plain kernels, with groups", () => {
    const graph = blockOf(orepaLargeBaseBlock, 8, { out: 12, kernel: 7, groups: 2, stride: 2 });
    expect(stateNames(graph)).toEqual(["weight0", "weight1", "weight2", "bn.*"]);
    const state = filledState(graph);
    const kernel = [0, 1, 2]
      .map((layer) => tensorOf(state, `weight${layer}`))
      .reduce((first, second) => merge(first, second, 2));
    const y = convolveSquare(x, kernel, { padding: 3, groups: 2, stride: 2 });
    expect(evaluate(graph, state, x)).toBeCloseToTensor(normalise(y, state, "bn"), {
      relative: 1e-13,
    });
  });

  it.each([
    ["OREPA_LargeConv", orepaLargeBlock, { kernel: 7, dilation: 2 }, [13, 13]],
    ["OREPA_LargeConvBase", orepaLargeBaseBlock, { kernel: 5, stride: 2 }, [7, 7]],
  ])("%s folds and keeps its output size", (_name, block, spec, size) => {
    expectConvolution(block, 8, { out: 12, ...spec }, 13);
    expect(outputShape(blockOf(block, 8, { out: 12, ...spec }, { size: 13 }))).toEqual([
      ...[12, ...size],
    ]);
  });
});

describe("OREPA_VGG", () => {
  it.each([
    { out: 8, kernel: 3 },
    { out: 8, kernel: 5 },
    { out: 12, kernel: 3, stride: 2 },
    { out: 8, kernel: 3, dilation: 2 },
    { out: 1, kernel: 3 },
  ])("is one convolution: %j", (spec) => {
    expectConvolution(orepaVggBlock, 8, spec);
  });

  it("works with a single input channel, which the reference cannot", () => {
    expectConvolution(orepaVggBlock, 1, { out: 1, kernel: 3 });
  });

  it.each([
    ["with", { out: 8 }, 6],
    ["without", { out: 8, stride: 2 }, 5],
  ])("%s an identity branch: %j has %i rows of vector", (_name, spec, rows) => {
    const graph = blockOf(orepaVggBlock, 8, { kernel: 3, ...spec });
    const names = stateNames(graph);
    expect(names.includes("rbr_identity.*")).toBe(rows === 6);
    const vector = initialState(graph, 0).get("rbr_dense.vector");
    expect(vector?.shape).toEqual([rows, 8]);
  });

  it("the row beyond the fifth changes nothing", () => {
    const graph = blockOf(orepaVggBlock, 8, { out: 8, kernel: 3 });
    const state = filledState(graph);
    const before = evaluate(graph, state, x);
    const vector = tensorOf(state, "rbr_dense.vector");
    const changed = vector.data.map((value, i) => (i >= 40 ? 1e6 : value));
    state.set("rbr_dense.vector", { shape: vector.shape, data: changed });
    expect(evaluate(graph, state, x)).toEqual(before);
  });
});
