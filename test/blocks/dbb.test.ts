// Diverse branch blocks: which branches, of which layers, and that they add up to one convolution.

import { describe, expect, it } from "@jest/globals";

import {
  type BranchOptions,
  DBB_BRANCHES,
  type DbbBranch,
  dbbBlock,
  type DbbOptions,
} from "../../src/blocks/index.js";
import { constantTensor, type Float64Tensor, initialState } from "../../src/graph/index.js";
import { convolveSquare, normalise, sum, tensorOf } from "../helpers/definitions.js";
import { filledState } from "../helpers/fill.js";
import { build, numbers } from "../helpers/numbers.js";
import { blockOf, evaluate, expectConvolution, outputShape, stateNames } from "../helpers/probe.js";

const names = (options: DbbOptions, spec: object = {}) =>
  stateNames(blockOf(dbbBlock(options), 4, { out: 6, kernel: 3, ...spec }));

const ORIGIN = ["dbb_origin.conv.weight", "dbb_origin.bn.*"];
const AVERAGE = ["dbb_avg.conv.weight", "dbb_avg.bn.bn.*", "dbb_avg.avgbn.*"];
const POINT = ["dbb_1x1.conv.weight", "dbb_1x1.bn.*"];
const SEQUENCE = [
  ...["dbb_1x1_kxk.idconv1.weight", "dbb_1x1_kxk.bn1.bn.*"],
  ...["dbb_1x1_kxk.conv2.weight", "dbb_1x1_kxk.bn2.*"],
];

describe("the branches that are built", () => {
  it.each<[string, DbbOptions, readonly string[]]>([
    ["all", {}, [...ORIGIN, ...AVERAGE, ...POINT, ...SEQUENCE]],
    ["origin", { branches: ["origin"] }, ORIGIN],
    ["avg", { branches: ["avg"] }, AVERAGE],
    ["1x1", { branches: ["1x1"] }, POINT],
    ["1x1_kxk", { branches: ["1x1_kxk"] }, SEQUENCE],
    [
      "two, in the reference's order whatever theirs",
      { branches: ["1x1", "origin"] },
      [...ORIGIN, ...POINT],
    ],
  ])("%s", (_name, options, expected) => {
    expect(names(options)).toEqual(expected);
  });

  it("depthwise: no 1x1 branch, a plain average, twice the inner width", () => {
    const depthwise = { out: 4, groups: 4 };
    expect(names({}, depthwise)).toEqual([
      ...ORIGIN,
      "dbb_avg.avgbn.*",
      ...["dbb_1x1_kxk.conv1.weight", "dbb_1x1_kxk.bn1.bn.*"],
      ...["dbb_1x1_kxk.conv2.weight", "dbb_1x1_kxk.bn2.*"],
    ]);
    const state = initialState(blockOf(dbbBlock(), 4, { ...depthwise, kernel: 3 }), 0);
    expect(state.get("dbb_1x1_kxk.conv1.weight")?.shape).toEqual([8, 1, 1, 1]);
    expect(state.get("dbb_1x1_kxk.conv2.weight")?.shape).toEqual([4, 2, 3, 3]);
  });

  it.each([
    [8, "conv1", [8, 2, 1, 1], [6, 4, 3, 3]],
    [4, "idconv1", [4, 2, 1, 1], [6, 2, 3, 3]],
  ])("innerChannels %i with 2 groups: %s %j", (innerChannels, name, first, second) => {
    const graph = blockOf(dbbBlock({ innerChannels }), 4, { out: 6, kernel: 3, groups: 2 });
    const state = initialState(graph, 0);
    expect(state.get(`dbb_1x1_kxk.${name}.weight`)?.shape).toEqual(first);
    expect(state.get("dbb_1x1_kxk.conv2.weight")?.shape).toEqual(second);
  });

  it.each<[DbbBranch, BranchOptions, readonly string[]]>([
    ["origin", { useBias: true }, ["conv.weight", "conv.bias", "bn.*"]],
    ["origin", { useBn: false }, ["conv.weight"]],
    ["origin", { useBias: true, useBn: false }, ["conv.weight", "conv.bias"]],
    ["1x1", { useBias: true, useBn: false }, ["conv.weight", "conv.bias"]],
    ["avg", { useBias: true }, ["conv.weight", "conv.bias", "bn.bn.*", "avgbn.*"]],
    ["avg", { useBn: false }, ["conv.weight"]],
    [
      "1x1_kxk",
      { useBias: true },
      ["idconv1.weight", "idconv1.bias", "bn1.bn.*", "conv2.weight", "conv2.bias", "bn2.*"],
    ],
    ["1x1_kxk", { useBn: false }, ["idconv1.weight", "conv2.weight"]],
  ])("%s with %j", (branch, options, expected) => {
    expect(names({ branches: [branch], branchOptions: { [branch]: options } })).toEqual(
      expected.map((name) => `dbb_${branch}.${name}`),
    );
  });
});

describe("one convolution", () => {
  const SPECS = [
    { kernel: 3 },
    { kernel: 3, stride: 2 },
    { kernel: 3, dilation: 2 },
    { kernel: 3, dilation: 2, stride: 2, groups: 2 },
    { kernel: 5, groups: 2 },
    { kernel: 3, groups: 4, out: 4 },
    { kernel: 3, groups: 4, out: 4, dilation: 2 },
    { kernel: 3, groups: 4, out: 8 },
    { kernel: 1 },
  ];

  it.each(SPECS)("all branches: %j", (spec) => {
    expectConvolution(dbbBlock(), 4, { out: 6, ...spec });
  });

  it.each(
    DBB_BRANCHES.flatMap((branch) =>
      [
        { useBias: false, useBn: true },
        { useBias: true, useBn: true },
        { useBias: true, useBn: false },
        { useBias: false, useBn: false },
      ].map((options) => [branch, options] as const),
    ),
  )("branch %s with %j, at the border too", (branch, options) => {
    const block = dbbBlock({ branches: [branch], branchOptions: { [branch]: options } });
    for (const spec of [
      { kernel: 3 },
      { kernel: 5, stride: 2, groups: 2 },
      { kernel: 3, dilation: 2 },
    ]) {
      expectConvolution(block, 4, { out: 6, ...spec });
    }
    if (branch !== "1x1") expectConvolution(block, 4, { out: 4, kernel: 3, groups: 4 });
  });
});

describe("dilation 2", () => {
  // Reference: with dilation 2 the first forward pass fails; RepVGG's blocks drop it in training.
  it.each([
    [3, 2, [9, 9]],
    [5, 4, [9, 9]],
  ])("kernel %i, padding %i keeps the size in both structures", (kernel, padding, size) => {
    for (const structure of ["train", "deploy"] as const) {
      const spec = { out: 6, kernel, dilation: 2, padding };
      expect(outputShape(blockOf(dbbBlock(), 4, spec, { structure }))).toEqual([6, ...size]);
    }
  });

  it.each([1, 2])("with %i group(s) the branches add up as drawn", (groups) => {
    const graph = blockOf(dbbBlock(), 4, { out: 6, kernel: 3, dilation: 2, groups });
    const state = filledState(graph);
    const x = numbers("x", [2, 4, 9, 9]);
    const w = (name: string) => tensorOf(state, `${name}.weight`);
    const norm = (y: Float64Tensor, name: string, pad = 0) => normalise(y, state, name, pad);
    const wide = { dilation: 2, groups };

    const origin = norm(
      convolveSquare(x, w("dbb_origin.conv"), { ...wide, padding: 2 }),
      "dbb_origin.bn",
    );
    const point = norm(convolveSquare(x, w("dbb_1x1.conv"), { groups }), "dbb_1x1.bn");
    // The average of nine pixels, each two apart, over a border of BN(0).
    const mixed = norm(convolveSquare(x, w("dbb_avg.conv"), { groups }), "dbb_avg.bn.bn", 2);
    const mean = { shape: [6, 1, 3, 3], data: new Float64Array(54).fill(1 / 9) };
    const average = norm(convolveSquare(mixed, mean, { dilation: 2, groups: 6 }), "dbb_avg.avgbn");
    const identity = constantTensor([4, 4 / groups, 1, 1], { kind: "identity" });
    const first = sum(w("dbb_1x1_kxk.idconv1"), identity);
    const inner = norm(convolveSquare(x, first, { groups }), "dbb_1x1_kxk.bn1.bn", 2);
    const sequence = norm(convolveSquare(inner, w("dbb_1x1_kxk.conv2"), wide), "dbb_1x1_kxk.bn2");

    expect(evaluate(graph, state, x)).toBeCloseToTensor(sum(origin, point, average, sequence), {
      relative: 1e-14,
    });
  });
});

describe("initial values", () => {
  const LAST_GAMMAS = ["dbb_origin.bn", "dbb_avg.avgbn", "dbb_1x1.bn", "dbb_1x1_kxk.bn2"];
  const INNER_GAMMAS = ["dbb_avg.bn.bn", "dbb_1x1_kxk.bn1.bn"];
  const gammas = (options: DbbOptions, layers: readonly string[]) => {
    const state = initialState(blockOf(dbbBlock(options), 4, { out: 6, kernel: 3 }), 0);
    return layers.map((name) => [...new Set(tensorOf(state, `${name}.weight`).data)]);
  };

  it("all gammas are 1 by default", () => {
    expect(gammas({}, [...LAST_GAMMAS, ...INNER_GAMMAS])).toEqual(Array(6).fill([1]));
  });

  it("singleInit: the last gamma of every branch but origin is 0", () => {
    expect(gammas({ singleInit: true }, LAST_GAMMAS)).toEqual([[1], [0], [0], [0]]);
    expect(gammas({ singleInit: true }, INNER_GAMMAS)).toEqual([[1], [1]]);
  });

  it("singleInit starts as the KxK branch alone", () => {
    const graph = blockOf(dbbBlock({ singleInit: true }), 4, { out: 6, kernel: 3 });
    const alone = blockOf(dbbBlock({ branches: ["origin"] }), 4, { out: 6, kernel: 3 });
    const x = numbers("x", [1, 4, 9, 9]);
    const y = evaluate(graph, initialState(graph, 1), x);
    expect(y).toBeCloseToTensor(evaluate(alone, initialState(alone, 1), x), { relative: 1e-14 });
  });

  it("the 1x1→KxK branch starts as its KxK alone: the first kernel is weight 0 + identity", () => {
    const block = dbbBlock({
      branches: ["1x1_kxk"],
      branchOptions: { "1x1_kxk": { useBn: false } },
    });
    const graph = blockOf(block, 4, { out: 6, kernel: 3, groups: 2 });
    const state = initialState(graph, 1);
    expect(new Set(tensorOf(state, "dbb_1x1_kxk.idconv1.weight").data)).toEqual(new Set([0]));
    const x = numbers("x", [1, 4, 9, 9]);
    const w = tensorOf(state, "dbb_1x1_kxk.conv2.weight");
    expect(evaluate(graph, state, x)).toBeCloseToTensor(
      convolveSquare(x, w, { padding: 1, groups: 2 }),
      { relative: 1e-14 },
    );
  });

  it("a bias without batch norm is added once per output channel", () => {
    const options = { useBias: true, useBn: false };
    const block = dbbBlock({ branches: ["1x1"], branchOptions: { "1x1": options } });
    const graph = blockOf(block, 4, { out: 6, kernel: 3 });
    const state = initialState(graph, 2);
    const bias = tensorOf(state, "dbb_1x1.conv.bias");
    const zeros = { shape: [1, 4, 9, 9], data: new Float64Array(324) };
    expect(evaluate(graph, state, zeros)).toEqual(
      build([1, 6, 9, 9], ([, o = 0]) => bias.data[o]!),
    );
  });
});
