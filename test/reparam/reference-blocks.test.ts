// Folding every reference block gives the reference's own equivalent convolution.

import { describe, expect, it } from "@jest/globals";

import { interpret, type State, type Tensor } from "../../src/graph/index.js";
import { fold } from "../../src/reparam/index.js";
import { blockNames, readBlock } from "../helpers/fixtures.js";
import { blockGraph, referenceBlock } from "../helpers/reference-blocks.js";

describe("deployed convolution of the reference blocks", () => {
  it.each(blockNames())("%s", (name) => {
    const reference = readBlock(name);
    const block = referenceBlock(reference);
    const state: State = new Map();
    for (const [key, tensor] of reference.tensors) {
      if (key.startsWith("state.")) state.set(key.slice("state.".length), tensor);
    }
    const { graph, state: folded } = fold(blockGraph(block, "train"), state);
    const { deployName } = block.block;
    // The reference folds in float32: its own rounding is some 1e-7 of the largest element.
    const own = (part: string): Tensor => folded.get(`${deployName}.${part}`)!;
    for (const part of ["weight", "bias"]) {
      const expected = reference.tensors.get(`deploy.${part}`)!;
      expect(own(part)).toBeCloseToTensor(expected, { relative: 1e-6 });
    }
    const { outputs } = interpret(graph, folded, reference.tensors.get("input"), {
      mode: "infer",
    });
    expect(outputs.get("y")).toBeCloseToTensor(reference.tensors.get("eval_output")!, {
      relative: 1e-5,
    });
  });
});
