// The state dict of every reference model: same names, shapes and kinds in the same order.

import { describe, expect, it } from "@jest/globals";

import { parameterCount, parametersOf, verifyGraph } from "../../src/graph/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { modelNames, readModel } from "../helpers/fixtures.js";

describe("state dicts of the reference models", () => {
  it("has all 58 of them", () => {
    expect(modelNames()).toHaveLength(58);
  });

  it.each(modelNames())("%s", (name) => {
    const reference = readModel(name);
    for (const structure of ["train", "deploy"] as const) {
      const { graph } = buildModel({ arch: reference.arch, block: reference.block, structure });
      verifyGraph(graph);
      const state = parametersOf(graph).map(({ name, shape, role }) => [name, shape, role]);
      expect(state).toEqual(reference[`state_${structure}`]);
      expect(parameterCount(graph)).toBe(reference[`params_${structure}`]);
    }
  });
});
