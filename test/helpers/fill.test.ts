// The tests' own fill v1 against the values that its definition lists.

import { describe, expect, it } from "@jest/globals";

import { fillInput, fillParameter, fillUniform } from "./fill.js";
import { readJson } from "./fixtures.js";
import { param } from "./types.js";

const { version, cases } = readJson("fill.json") as {
  version: string;
  cases: { name: string; seed: number; values: { i: number; u: number }[] }[];
};

describe("fill v1", () => {
  it("is the version of the file", () => {
    expect(version).toBe("fill v1");
    expect(cases).toHaveLength(7);
  });

  it.each(cases.map(({ name, seed, values }) => [name, seed, values] as const))(
    '"%s" with seed %i',
    (name, seed, values) => {
      const u = fillUniform(name, seed);
      expect(values.map(({ i }) => ({ i, u: u(i) }))).toEqual(values.map(({ i, u }) => ({ i, u })));
    },
  );

  const u = 0.6996413567103446; // u_0 of "linear.weight"

  it.each([
    ["linear.weight", [1, 12], "param", Math.fround((2 * u - 1) * Math.sqrt(3 / 12) * 0.7)],
    ["linear.weight", [1], "param", Math.fround(0.5 + u)],
    ["linear.weight", [1, 12], "buffer", undefined],
  ] as const)("%s of shape %j, a %s: %s", (name, shape, role, expected) => {
    expect(fillParameter(param({ name, shape, role }))?.data[0]).toBe(expected);
  });

  it("leaves counters alone, and fills running statistics though they are buffers", () => {
    const filled = (name: string) => {
      const shape = name.endsWith("tracked") ? [] : [2];
      const value = fillParameter(param({ name, shape, role: "buffer" }));
      return value && [...value.data].map((_, i) => fillUniform(name)(i));
    };
    expect(filled("bn.num_batches_tracked")).toBeUndefined();
    for (const name of ["bn.running_mean", "bn.running_var"]) expect(filled(name)).toHaveLength(2);
    const mean = fillParameter(param({ name: "bn.running_mean", shape: [1], role: "buffer" }));
    expect(mean?.data[0]).toBe(Math.fround((fillUniform("bn.running_mean")(0) - 0.5) * 0.2));
    const variance = fillParameter(param({ name: "bn.running_var", shape: [1], role: "buffer" }));
    expect(variance?.data[0]).toBe(Math.fround(0.5 + fillUniform("bn.running_var")(0)));
  });

  it("fills an input from ±1.7", () => {
    expect(fillInput("input", [2]).data).toEqual(
      Float32Array.of((2 * 0.6227088000159711 - 1) * 1.7, (2 * 0.7670190979260951 - 1) * 1.7),
    );
  });
});
