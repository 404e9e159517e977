// Batch norm with numbers that come out even, so that every result can be checked by eye.

import { describe, expect, it } from "@jest/globals";

import {
  GraphBuilder,
  interpret,
  type Padding,
  type State,
  type Tensor,
  tensor64,
  type Value,
} from "../../../src/graph/index.js";
import { graphOf, outputOf } from "../../helpers/graphs.js";
import { numbers } from "../../helpers/numbers.js";

/** One channel: 1 3 / 5 7 over a batch of two. Mean 4, squares about it 9 1 1 9. */
const images = { shape: [2, 1, 1, 2], data: Float64Array.of(1, 3, 5, 7) };

function norm(options: { momentum?: number; eps?: number; pad?: Padding; channels?: number } = {}) {
  const { channels = 1, ...rest } = options;
  return graphOf((scope) => {
    const parameter = (name: string) =>
      scope.param(name, [channels], { init: { kind: "constant", value: 1 }, decay: "norm" });
    const weights = {
      gamma: parameter("gamma"),
      beta: parameter("beta"),
      mean: parameter("mean"),
      variance: parameter("variance"),
      counter: scope.counter("counter"),
    };
    const x = scope.input([channels, 1, 2]);
    return scope.batchNorm(x, weights, { eps: 4, ...rest });
  });
}

function state(mean: number, variance: number, counter = 0n): State {
  return new Map<string, Tensor>([
    ["gamma", tensor64([1], [6])],
    ["beta", tensor64([1], [1])],
    ["mean", tensor64([1], [mean])],
    ["variance", tensor64([1], [variance])],
    ["counter", { shape: [], data: BigInt64Array.of(counter) }],
  ]);
}

describe("batchNorm in evaluation", () => {
  it("normalises by the running statistics: (x - 10) / sqrt(12 + 4) * 6 + 1", () => {
    const result = interpret(norm(), state(10, 12), images, { mode: "infer" });
    expect(outputOf(result)).toEqual({
      shape: [2, 1, 1, 2],
      data: Float64Array.of(-12.5, -9.5, -6.5, -3.5),
    });
    expect(result.updates.size).toBe(0);
  });

  it("borders hold what it makes of zero: 1 - 10 / 4 * 6 = -14", () => {
    const graph = norm({ pad: [1, 0, 0, 2] });
    expect(outputOf(interpret(graph, state(10, 12), images, { mode: "infer" }))).toEqual({
      shape: [2, 1, 2, 4],
      data: Float64Array.of(
        ...[-14, -14, -14, -14, -12.5, -9.5, -14, -14],
        ...[-14, -14, -14, -14, -6.5, -3.5, -14, -14],
      ),
    });
  });
});

describe("batchNorm in training", () => {
  it("normalises by the batch, variance 20/4: (x - 4) / sqrt(5 + 4) * 6 + 1", () => {
    const result = interpret(norm(), state(10, 2), images, { mode: "train" });
    expect(outputOf(result)).toBeCloseToTensor(
      { shape: [2, 1, 1, 2], data: Float64Array.of(-5, -1, 3, 7) },
      { absolute: 1e-14 },
    );
  });

  it("moves the running statistics by momentum, with the unbiased variance 20/3", () => {
    const { updates } = interpret(norm({ momentum: 0.1 }), state(10, 2, 41n), images, {
      mode: "train",
    });
    expect([...updates.keys()].sort()).toEqual(["counter", "mean", "variance"]);
    const rounding = { absolute: 1e-14 };
    // 0.9 * 10 + 0.1 * 4 and 0.9 * 2 + 0.1 * 20/3
    expect(updates.get("mean")).toBeCloseToTensor(tensor64([1], [9.4]), rounding);
    expect(updates.get("variance")).toBeCloseToTensor(tensor64([1], [37 / 15]), rounding);
    expect(updates.get("counter")).toEqual({ shape: [], data: BigInt64Array.of(42n) });
  });

  it.each([
    [0, 10, 2],
    [1, 4, 20 / 3],
  ])("momentum %d keeps %d and %d", (momentum, mean, variance) => {
    const { updates } = interpret(norm({ momentum }), state(10, 2), images, { mode: "train" });
    expect(updates.get("mean")).toBeCloseToTensor(tensor64([1], [mean]));
    expect(updates.get("variance")).toBeCloseToTensor(tensor64([1], [variance]), {
      absolute: 1e-15,
    });
  });

  it("borders follow the running statistics after the update, not the batch's", () => {
    // After it: mean (10 + 4)/2 = 7, variance (52/3 + 20/3)/2 = 12; 1 - 7 / 4 * 6 = -9.5.
    const graph = norm({ momentum: 0.5, pad: [0, 0, 1, 1] });
    const result = interpret(graph, state(10, 52 / 3), images, { mode: "train" });
    expect(outputOf(result)).toBeCloseToTensor(
      {
        shape: [2, 1, 1, 4],
        data: Float64Array.of(-9.5, -5, -1, -9.5, -9.5, 3, 7, -9.5),
      },
      { absolute: 1e-14 },
    );
  });

  it("does not touch the state it was given", () => {
    const before = state(10, 2, 41n);
    interpret(norm(), before, images, { mode: "train" });
    expect(before).toEqual(state(10, 2, 41n));
  });

  it("weights that stand after it read the statistics of this step: 12 + (20/3 - 12) / 4", () => {
    const scope = new GraphBuilder().root();
    const parameter = (name: string) =>
      scope.param(name, [1], { init: { kind: "constant", value: 1 }, decay: "norm" });
    const [gamma, beta, mean, variance] = ["gamma", "beta", "mean", "variance"].map(parameter) as [
      Value,
      Value,
      Value,
      Value,
    ];
    const y = scope.batchNorm(
      scope.input([1, 1, 2]),
      { gamma, beta, mean, variance },
      { momentum: 0.25 },
    );
    const graph = scope.builder.build({ y, after: scope.detach(variance) });
    const result = interpret(graph, state(10, 12), images, { mode: "train" });
    expect(outputOf(result, "after").data[0]).toBeCloseTo(12 + (20 / 3 - 12) / 4, 12);
  });

  it("a counter beyond float64 counts on exactly", () => {
    const { updates } = interpret(norm(), state(10, 2, 2n ** 60n), images, { mode: "train" });
    expect(updates.get("counter")?.data).toEqual(BigInt64Array.of(2n ** 60n + 1n));
  });

  it("a batch of one value has variance 0 and stays finite", () => {
    const graph = graphOf((scope) => {
      const parameter = (name: string) => scope.buffer(name, [1], { kind: "constant", value: 1 });
      const [gamma, beta] = [parameter("gamma"), parameter("beta")];
      const x = scope.input([1, 1, 1]);
      const weights = { gamma, beta, mean: parameter("mean"), variance: parameter("variance") };
      return scope.batchNorm(x, weights, { eps: 4, momentum: 0.5 });
    });
    const one = { shape: [1, 1, 1, 1], data: Float64Array.of(5) };
    const result = interpret(graph, state(10, 2), one, { mode: "train" });
    expect([...outputOf(result).data]).toEqual([1]);
    expect(result.updates.get("variance")).toEqual(tensor64([1], [1]));
  });
});

describe("channels", () => {
  it("are normalised each by its own statistics", () => {
    const graph = norm({ channels: 3, eps: 1e-5 });
    const x = numbers("x", [4, 3, 1, 2]);
    const weights = ["gamma", "beta", "mean", "variance"].map(
      (name) => [name, numbers(name, [3])] as const,
    );
    const counter = { shape: [], data: BigInt64Array.of(0n) };
    const state = new Map<string, Tensor>([...weights, ["counter", counter]]);
    const result = interpret(graph, state, x, { mode: "train" });
    const [gamma, beta] = weights.map(([, { data }]) => data) as [Float64Array, Float64Array];
    const y = outputOf(result);
    for (const channel of [0, 1, 2]) {
      const pick = (tensor: { data: Float64Array }) =>
        [...tensor.data].filter((_, i) => Math.floor(i / 2) % 3 === channel);
      const values = pick(x);
      const mean = values.reduce((sum, value) => sum + value, 0) / 8;
      const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 8;
      const expected = values.map(
        (value) => ((value - mean) / Math.sqrt(variance + 1e-5)) * gamma[channel]! + beta[channel]!,
      );
      expect(tensor64([8], pick(y))).toBeCloseToTensor(tensor64([8], expected), {
        absolute: 1e-14,
      });
    }
  });
});
