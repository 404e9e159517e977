// Every deployed tensor of the reference models, after filling their weights by formula.

import { describe, expect, it } from "@jest/globals";

import { parametersOf, toFloat64 } from "../../src/graph/index.js";
import { foldGraph, materialise } from "../../src/reparam/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { filledState } from "../helpers/fill.js";
import { modelNames, readModel } from "../helpers/fixtures.js";

const names = process.env["ALL"] ? modelNames() : modelNames().filter((n) => /ResNet-18__|A0__/.test(n));

describe("deployed tensors of the reference models", () => {
  it.each(names)("%s", (name) => {
    const reference = readModel(name);
    const { graph } = buildModel({ arch: reference.arch, block: reference.block });
    const state = filledState(graph);
    const folded = foldGraph(graph, { outputs: ["logits"] });
    const { parameters, graph: result } = materialise(graph, folded.graph, folded.groups);
    expect(parametersOf(result).map((p) => p.name)).toEqual(Object.keys(reference.deploy.tensors));
    let worst = 0;
    for (const { name, value } of parameters) {
      const { data } = toFloat64(value(state));
      const expected = reference.deploy.tensors[name]!;
      const sum = data.reduce((a, b) => a + b, 0);
      const l2 = Math.sqrt(data.reduce((a, b) => a + b * b, 0));
      const scale = expected.l2 / Math.sqrt(data.length);
      worst = Math.max(worst, Math.abs(l2 - expected.l2) / expected.l2, Math.abs(sum - expected.sum) / (expected.l2 * Math.sqrt(data.length)));
      for (const [i, first] of expected.first4.entries()) worst = Math.max(worst, Math.abs(data[i]! - first) / scale);
    }
    expect(worst).toBeLessThan(1e-6);
  }, 600000);
});
