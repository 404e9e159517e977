// Both forms of a network run and compared, on the float64 interpreter: every digit of a difference is real.

import { describe, expect, it, jest, test } from "@jest/globals";

import { type State, tensor64 } from "../../src/graph/index.js";
import { compareForms, distance } from "../../src/verify/compare.js";
import { bothForms, worstLayer } from "../../src/verify/forms.js";
import { selectCases, verifyCase } from "../../src/verify/index.js";
import { judge, outputTolerance } from "../../src/verify/judge.js";
import { randomisedState } from "../../src/verify/statistics.js";
import { interpreterEngine as engine } from "../helpers/interpreter-engine.js";

jest.setTimeout(30_000);
const load = { precision: "fp64" } as const;
const all = selectCases({}).map((build) => build());
const find = (name: string) => all.find((one) => one.name === name)!;

describe("blocks", () => {
  it.each([
    "ConvBN 3x3 16→32 groups 4",
    "ACB 5x5 16→16 stride 2 dilation 2",
    "DBB 3x3 16→16",
    "DBB 7x7 16→16 stride 2 groups 16",
    "RepVGG 3x3 16→16",
    "OREPA 3x3 16→24",
    "OREPA_1x1 1x1 16→16",
    "OREPA_LargeConv 5x5 16→16",
    "OREPA_VGG 3x3 16→16",
  ])("%s", async (name) => {
    const result = await verifyCase(find(name), { engine, load, seed: 0 });
    expect(result).toMatchObject({ name, ok: true, reason: null });
    // The new weights are rounded to float32, nothing else is.
    expect(result.max_abs_diff).toBeGreaterThan(0);
    expect(result.max_abs_diff).toBeLessThan(result.tolerance / 8);
    expect(result.sum_sq_diff).toBeGreaterThanOrEqual(result.max_abs_diff ** 2);
    expect(result.worst_layer).toMatch(/^block\./);
    expect(result.params_train).toBeGreaterThan(result.params_deploy - 64);
  });

  it("with fresh statistics would not show a forgotten mean: the random ones do", () => {
    const { train } = find("ConvBN 3x3 16→16");
    const state = randomisedState(train, 0);
    for (const name of ["weight", "bias", "running_mean", "running_var"]) {
      const { data } = state.get(`block.bn.${name}`)!;
      const values = [...(data as Float32Array)];
      expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...values)).toBeLessThanOrEqual(Math.fround(0.1));
      expect(new Set(values).size).toBeGreaterThan(10);
    }
    expect(randomisedState(train, 0)).toEqual(state);
    expect(randomisedState(train, 1)).not.toEqual(state);
  });
});

describe("what is wrong is found", () => {
  const { train, images, name, kind } = find("DBB 3x3 16→16");
  const state = randomisedState(train, 0);
  const right = bothForms(train, state);

  /** The deployed weights with the largest of a tensor multiplied. */
  const damaged = (tensor: string, factor: number): State => {
    const values = new Map(right.deploy.state as State);
    const { shape, data } = values.get(tensor)!;
    const copy = Float32Array.from(data as Float32Array);
    const largest = copy.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a));
    copy[copy.indexOf(largest)]! *= factor;
    return values.set(tensor, { shape, data: copy });
  };
  const verdictOn = async (deployed: State) => {
    const forms = bothForms(train, state, deployed);
    const timing = { engine, load, runs: 1, seconds: 0 };
    const comparison = await compareForms(forms, images, timing);
    return judge({ name, kind, forms, comparison, layer: worstLayer(forms) });
  };

  it.each(["block.dbb_reparam.weight", "block.dbb_reparam.bias"])(
    "the largest value of %s that is off by a thousandth",
    async (tensor) => {
      const verdict = await verdictOn(damaged(tensor, 1.001));
      expect(verdict).toMatchObject({ ok: false, worst_layer: "block.dbb_reparam" });
      expect(verdict.max_abs_diff).toBeGreaterThan(verdict.tolerance);
      expect(verdict.worst_layer_diff).toBeGreaterThan(verdict.layer_tolerance);
      expect(verdict.reason).toContain("block.dbb_reparam differs from its branches by");
    },
  );

  it("one that is off by a ten-thousandth, layer by layer", async () => {
    const verdict = await verdictOn(damaged("block.dbb_reparam.weight", 1.0001));
    expect(verdict.ok).toBe(false);
  });

  it("one that is no number", async () => {
    const verdict = await verdictOn(damaged("block.dbb_reparam.weight", NaN));
    expect(verdict).toMatchObject({ ok: false, max_abs_diff: Infinity, sum_sq_diff: Infinity });
  });

  it("but not the rounding to float32", async () => {
    expect(await verdictOn(new Map(right.deploy.state as State))).toMatchObject({ ok: true });
  });

  it("a form that is not the deployed structure", async () => {
    const one = { ...find("DBB 3x3 16→16"), deployHash: "another" };
    const result = await verifyCase(one, { engine, load, seed: 0 });
    expect(result).toMatchObject({
      ...{ ok: false, reason: "folding does not give its deployed structure" },
    });
  });
});

test("distances: squares summed, the largest taken, what is no number infinite", () => {
  const a = tensor64([3], [1, -4, 2]);
  expect(distance(a, tensor64([3], [1.5, -4, 1]))).toEqual({
    ...{ sumOfSquares: 1.25, largestDifference: 1, largestValue: 4 },
  });
  expect(distance(a, tensor64([3], [1, NaN, 2])).largestDifference).toBe(Infinity);
});

test("tolerance grows with the square root of the depth", () => {
  expect(outputTolerance(1)).toBe(2 ** -18);
  expect(outputTolerance(16)).toBe(2 ** -16);
});
