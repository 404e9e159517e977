// Every block of the reference: its state, and what the float64 interpreter makes of it.

import { describe, expect, it } from "@jest/globals";

import { interpret, parametersOf, type State, type Tensor } from "../../src/graph/index.js";
import { blockNames, readBlock } from "../helpers/fixtures.js";
import { blockGraph, referenceBlock } from "../helpers/reference-blocks.js";

/** The reference computes in float32: sums of some hundred terms, relative to the largest output. */
const FLOAT32 = { relative: 1e-5 };

describe("blocks of the reference", () => {
  it("has all 52 of them", () => {
    expect(blockNames()).toHaveLength(52);
  });

  describe.each(blockNames())("%s", (name) => {
    const reference = readBlock(name);
    const graph = blockGraph(referenceBlock(reference), "train");
    const input = reference.tensors.get("input")!;
    const state: State = new Map(withPrefix(reference.tensors, "state."));
    const tensor = (key: string) => reference.tensors.get(key)!;

    it("has the same state in the same order", () => {
      const declared = parametersOf(graph).map(({ name, shape }) => [name, shape]);
      const expected = [...state].map(([name, { shape }]) => [name, shape]);
      expect(declared).toEqual(expected);
    });

    it("computes the same in evaluation", () => {
      const { outputs, updates } = interpret(graph, state, input, { mode: "infer" });
      expect(outputs.get("y")).toBeCloseToTensor(tensor("eval_output"), FLOAT32);
      expect(updates.size).toBe(0);
    });

    it("computes the same in training, and updates the same statistics", () => {
      const { outputs, updates } = interpret(graph, state, input, { mode: "train" });
      expect(outputs.get("y")).toBeCloseToTensor(tensor("train_output"), FLOAT32);
      const expected = new Map(withPrefix(reference.tensors, "train_state."));
      expect([...updates.keys()].sort()).toEqual([...expected.keys()].sort());
      for (const [name, after] of expected) {
        expect(updates.get(name)).toBeCloseToTensor(after, FLOAT32);
      }
    });

    it("has one convolution in its deployed form", () => {
      const block = referenceBlock(reference);
      const deployed = blockGraph(block, "deploy");
      const state: State = new Map();
      for (const { name, shape } of parametersOf(deployed)) {
        // The convolution's own tensors are under `deploy.`; what surrounds it keeps its name.
        const [module, last] = [name.slice(0, name.lastIndexOf(".")), name.split(".").at(-1)];
        const value = tensor(
          module === block.block.deployName ? `deploy.${last}` : `state.${name}`,
        );
        expect(value.shape).toEqual(shape);
        state.set(name, value);
      }
      const { outputs } = interpret(deployed, state, input, { mode: "infer" });
      expect(outputs.get("y")).toBeCloseToTensor(tensor("deploy_output"), FLOAT32);
    });
  });
});

function* withPrefix(tensors: Map<string, Tensor>, prefix: string): Iterable<[string, Tensor]> {
  for (const [name, tensor] of tensors) {
    if (name.startsWith(prefix)) yield [name.slice(prefix.length), tensor];
  }
}
