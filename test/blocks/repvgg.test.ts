// RepVGG blocks: identity where shapes allow, any odd kernel, dilation kept, SiLU, squeeze-and-excitation.

import { describe, expect, it } from "@jest/globals";

import { repVggBlock, type Surroundings } from "../../src/blocks/index.js";
import { type Float64Tensor, interpret, type State } from "../../src/graph/index.js";
import { convolveSquare, normalise, sum, tensorOf } from "../helpers/definitions.js";
import { filledState } from "../helpers/fill.js";
import { errorOf, outputOf } from "../helpers/graphs.js";
import { build, numbers } from "../helpers/numbers.js";
import { blockOf, evaluate, expectConvolution, outputShape, stateNames } from "../helpers/probe.js";

const PLAIN = ["rbr_dense.conv.weight", "rbr_dense.bn.*", "rbr_1x1.conv.weight", "rbr_1x1.bn.*"];

describe("branches", () => {
  it.each([
    ["as many outputs as inputs, stride 1", { out: 4 }, ["rbr_identity.*", ...PLAIN]],
    ["stride 2", { out: 4, stride: 2 }, PLAIN],
    ["more outputs than inputs", { out: 6 }, PLAIN],
    ["groups", { out: 4, groups: 2 }, ["rbr_identity.*", ...PLAIN]],
  ])("%s", (_name, spec, expected) => {
    expect(stateNames(blockOf(repVggBlock, 4, { kernel: 3, ...spec }))).toEqual(expected);
  });

  it.each([
    { kernel: 3, out: 4 },
    { kernel: 3, out: 6, stride: 2 },
    { kernel: 3, out: 4, groups: 2 },
    { kernel: 3, out: 4, groups: 4 },
    { kernel: 5, out: 4 },
    { kernel: 7, out: 6, stride: 2 },
    { kernel: 3, out: 4, dilation: 2 },
    { kernel: 5, out: 4, dilation: 2, groups: 2 },
    { kernel: 1, out: 4 },
  ])("are one convolution: %j", (spec) => {
    expectConvolution(repVggBlock, 4, spec);
  });

  it.each([
    { kernel: 3, dilation: 2, stride: 1 },
    { kernel: 5, dilation: 1, stride: 1 },
    { kernel: 7, dilation: 1, stride: 1 },
    { kernel: 3, dilation: 3, stride: 2 },
  ])("add up as drawn: %j", (spec) => {
    const graph = blockOf(repVggBlock, 4, { out: 4, ...spec });
    const state = filledState(graph);
    const x = numbers("x", [2, 4, 9, 9]);
    expect(evaluate(graph, state, x)).toBeCloseToTensor(linearPart(x, state, spec), {
      relative: 1e-14,
    });
  });
});

/** Dense, 1x1 and, with stride 1, identity; each with its batch norm. Four channels throughout. */
function linearPart(
  x: Float64Tensor,
  state: State,
  { kernel, dilation, stride }: { kernel: number; dilation: number; stride: number },
): Float64Tensor {
  const w = (name: string) => tensorOf(state, `${name}.conv.weight`);
  const padding = (dilation * (kernel - 1)) / 2;
  const dense = convolveSquare(x, w("rbr_dense"), { stride, dilation, padding });
  const point = convolveSquare(x, w("rbr_1x1"), { stride });
  return sum(
    normalise(dense, state, "rbr_dense.bn"),
    normalise(point, state, "rbr_1x1.bn"),
    ...(stride === 1 ? [normalise(x, state, "rbr_identity")] : []),
  );
}

describe("output size", () => {
  // Reference: the training branches drop `dilation`, so deployment changes the size: 17x17, 15x15.
  it.each([
    [{ kernel: 3, dilation: 2 }, 17, [17, 17]],
    [{ kernel: 3, dilation: 3, stride: 2 }, 17, [9, 9]],
    [{ kernel: 5, dilation: 2 }, 17, [17, 17]],
    [{ kernel: 5 }, 17, [17, 17]],
    [{ kernel: 7, stride: 2 }, 17, [9, 9]],
  ])("%j on %i pixels is %j in both structures", (spec, size, expected) => {
    for (const structure of ["train", "deploy"] as const) {
      const graph = blockOf(repVggBlock, 4, { out: 4, ...spec }, { structure, size });
      expect(outputShape(graph)).toEqual([4, ...expected]);
      // Every convolution over more than one pixel has the dilation that was asked for.
      const { dilation = 1 } = spec as { dilation?: number };
      const dilations = graph.nodes.flatMap(({ op, inputs }) =>
        op.kind === "conv2d" && graph.nodes[inputs[1]!]!.type.shape[2] === spec.kernel
          ? [op.dilation]
          : [],
      );
      expect(dilations).toEqual([[dilation, dilation]]);
    }
  });
});

describe("what surrounds the branches", () => {
  const spec = { out: 4, kernel: 3 };
  const x = numbers("x", [2, 4, 9, 9]);
  const plain = { kernel: 3, dilation: 1, stride: 1 };
  const map = (y: Float64Tensor, f: (value: number) => number): Float64Tensor => ({
    shape: y.shape,
    data: y.data.map(f),
  });
  const silu = (value: number) => value / (1 + Math.exp(-value));
  const relu = (value: number) => Math.max(value, 0);

  /** x * sigmoid(up(relu(down(mean of x)))), by its definition. */
  function squeezeExcite(y: Float64Tensor, state: State, name: string): Float64Tensor {
    const [batch = 0, channels = 0, height = 0, width = 0] = y.shape;
    const area = height * width;
    const dense = (values: readonly number[], layer: string) => {
      const weight = tensorOf(state, `${name}.${layer}.weight`).data;
      const bias = tensorOf(state, `${name}.${layer}.bias`).data;
      return [...bias].map((b, o) =>
        values.reduce((total, value, i) => total + weight[o * values.length + i]! * value, b),
      );
    };
    const gates = Array.from({ length: batch }, (_, n) => {
      const means = Array.from({ length: channels }, (_, c) => {
        const start = (n * channels + c) * area;
        return y.data.slice(start, start + area).reduce((total, value) => total + value, 0) / area;
      });
      const excited = dense(dense(means, "down").map(relu), "up");
      return excited.map((value) => 1 / (1 + Math.exp(-value)));
    });
    return build(y.shape, ([n = 0, c = 0, h = 0, w = 0]) => {
      const value = y.data[((n * channels + c) * height + h) * width + w]!;
      return value * gates[n]![c]!;
    });
  }

  it.each<[string, Partial<Surroundings>, (y: Float64Tensor, state: State) => Float64Tensor]>([
    ["nothing", {}, (y) => y],
    ["relu", { activation: "relu" }, (y) => map(y, relu)],
    ["silu", { activation: "silu" }, (y) => map(y, silu)],
    [
      "squeeze-and-excitation before relu",
      { activation: "relu", squeeze: { position: "before", inner: 2 } },
      (y, state) => map(squeezeExcite(y, state, "se"), relu),
    ],
    [
      "squeeze-and-excitation after relu",
      { activation: "relu", squeeze: { position: "after", inner: 3 } },
      (y, state) => squeezeExcite(map(y, relu), state, "post_se"),
    ],
    [
      "squeeze-and-excitation after silu",
      { activation: "silu", squeeze: { position: "after", inner: 1 } },
      (y, state) => squeezeExcite(map(y, silu), state, "post_se"),
    ],
  ])("%s", (_name, surroundings, expected) => {
    const graph = blockOf(repVggBlock, 4, spec, surroundings);
    const state = filledState(graph);
    const linear = linearPart(x, state, plain);
    expect(evaluate(graph, state, x)).toBeCloseToTensor(expected(linear, state), {
      relative: 1e-14,
    });
  });

  it.each([
    ["before", "se"],
    ["after", "post_se"],
  ] as const)("%s: its parameters come first, as %s, in both structures", (position, name) => {
    const squeeze = { position, inner: 2 };
    const gate = ["down.weight", "down.bias", "up.weight", "up.bias"].map(
      (last) => `${name}.${last}`,
    );
    const train = blockOf(repVggBlock, 4, spec, { squeeze });
    const deploy = blockOf(repVggBlock, 4, spec, { squeeze, structure: "deploy" });
    expect(stateNames(train)).toEqual([...gate, "rbr_identity.*", ...PLAIN]);
    expect(stateNames(deploy)).toEqual([...gate, "rbr_reparam.weight", "rbr_reparam.bias"]);
  });

  it("is not part of what the convolution replaces", () => {
    const graph = blockOf(repVggBlock, 4, spec, {
      activation: "silu",
      squeeze: { position: "before", inner: 2 },
    });
    const labelled = graph.nodes.filter(({ foldName }) => foldName !== undefined);
    expect(labelled.map(({ op, foldName }) => [op.kind, foldName])).toEqual([
      ["add", "rbr_reparam"],
    ]);
    const state = filledState(graph);
    const linear = interpret(
      { nodes: graph.nodes, outputs: [{ name: "y", value: labelled[0]!.id }] },
      state,
      x,
      { mode: "infer" },
    );
    expect(outputOf(linear)).toBeCloseToTensor(linearPart(x, state, plain), { relative: 1e-14 });
  });

  it("an inner width of zero is refused", () => {
    const squeeze = { position: "before", inner: Math.trunc(8 / 16) } as const;
    expect(errorOf(() => blockOf(repVggBlock, 4, spec, { squeeze }))).toEqual({
      kind: "usage",
      message: "se.down.weight: param: result: expected extents of at least 1, found (0,4,1,1)",
    });
  });
});
