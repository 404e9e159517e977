// Folding in float64, before any rounding, against the papers' formulas in plain loops.

import { describe, expect, it } from "@jest/globals";

import type { State } from "../../src/graph/index.js";
import { evaluateWeight } from "../../src/reparam/evaluate.js";
import { foldGraph } from "../../src/reparam/index.js";
import { blockNames, readBlock } from "../helpers/fixtures.js";
import { equivalentConvolution } from "../helpers/paper-formulas.js";
import { blockGraph, referenceBlock } from "../helpers/reference-blocks.js";

describe("equivalent kernel and bias in float64", () => {
  it.each(blockNames())("%s", (name) => {
    const reference = readBlock(name);
    const state: State = new Map();
    for (const [key, tensor] of reference.tensors) {
      if (key.startsWith("state.")) state.set(key.slice("state.".length), tensor);
    }
    const expected = equivalentConvolution(reference, state);
    // The formulas themselves, against what the reference computed in float32.
    for (const [part, value] of [
      ["weight", expected.kernel],
      ["bias", expected.bias],
    ] as const) {
      expect(value).toBeCloseToTensor(reference.tensors.get(`deploy.${part}`)!, { relative: 1e-6 });
    }

    const { graph, groups } = foldGraph(blockGraph(referenceBlock(reference), "train"));
    expect(groups).toHaveLength(1);
    const [, kernel, bias] = graph.nodes[groups[0]!.convolution]!.inputs;
    const tolerance = { relative: 1e-12 };
    expect(evaluateWeight(graph, kernel!, state)).toBeCloseToTensor(expected.kernel, tolerance);
    expect(evaluateWeight(graph, bias!, state)).toBeCloseToTensor(expected.bias, tolerance);
  });
});
