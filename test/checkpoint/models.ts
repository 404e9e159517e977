// Models for the checkpoint tests: their tensors as files list them, and states to write and compare.

import { expect } from "@jest/globals";

import type { TensorEntry, TensorInfo } from "../../src/checkpoint/index.js";
import {
  elementCount,
  initialState,
  parametersOf,
  type State,
  type StateSource,
} from "../../src/graph/index.js";
import { buildModel, type Model, type ModelOptions } from "../../src/zoo/index.js";
import { pickle } from "./support.js";

/** The smallest one. */
export const MOBILENET = { arch: "MobileNet", block: "base", numClasses: 5 } as const;
export const DEPLOYED = { ...MOBILENET, structure: "deploy" } as const;

/** The tensors that a file with the state of this model lists, in state-dict order. */
export function tensorsOf(options: ModelOptions): Map<string, TensorInfo> {
  return new Map(
    parametersOf(buildModel(options).graph).map(({ name, shape, dtype }) => [
      name,
      { name, shape, dtype: dtype === "i64" ? "I64" : "F32" },
    ]),
  );
}

/**
 * The pickled state dict of a model whose tensors all begin at the front of two storages, "0" with
 * the largest tensor's floats and "1" with one counter; and the bytes of those.
 */
export function pickledState(
  options: ModelOptions,
  prefix = "",
): { dict: Buffer; storages: Record<string, Uint8Array> } {
  const state = parametersOf(buildModel(options).graph);
  const elements = Math.max(...state.map(({ shape }) => elementCount(shape)));
  const items = state.flatMap(({ name, shape, dtype }) => [
    pickle.text(prefix + name),
    dtype === "i64"
      ? pickle.tensor("1", shape, { type: "LongStorage" })
      : pickle.tensor("0", shape, { elements }),
  ]);
  const values = Float32Array.from({ length: elements }, (_, i) => (i % 7) - 3);
  return {
    dict: pickle.dict(...items),
    storages: {
      "0": new Uint8Array(values.buffer),
      "1": new Uint8Array(BigInt64Array.of(5n).buffer),
    },
  };
}

/** A fresh state whose counters have counted beyond what a float can hold. */
export function stateOf(model: Model, seed = 7): State {
  const state = initialState(model.graph, seed);
  for (const [name, { shape, data }] of state) {
    if (data instanceof BigInt64Array)
      state.set(name, { shape, data: BigInt64Array.of(2n ** 60n) });
  }
  return state;
}

export function expectSameState(loaded: StateSource, state: State): void {
  for (const [name, tensor] of state) {
    const found = loaded.get(name)!;
    expect([name, found.shape]).toEqual([name, tensor.shape]);
    // Compared as bytes: a matcher would take its time over millions of numbers.
    const bytes = ({ data }: typeof found) =>
      Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    expect([name, bytes(found).equals(bytes(tensor))]).toEqual([name, true]);
  }
}

/** A fresh state dict, to be written. */
export function entriesOf(options: ModelOptions): TensorEntry[] {
  const { graph } = buildModel(options);
  return Array.from(initialState(graph, 1), ([name, tensor]) => ({ name, tensor }));
}
