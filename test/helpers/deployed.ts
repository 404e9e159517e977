// What a conversion must come to: the reference's deployed tensors, and what library folding computes.

import { expect } from "@jest/globals";

import { loadCheckpoint, openTensorFile, saveCheckpoint } from "../../src/checkpoint/index.js";
import { parametersOf, type State, type StateSource, toFloat32 } from "../../src/graph/index.js";
import { useNativeSums } from "../../src/linalg/use-native.js";
import { fold } from "../../src/reparam/index.js";
import { buildModel, type Model, type ModelOptions } from "../../src/zoo/index.js";
import { filledState } from "./fill.js";
import type { ModelReference } from "./fixtures.js";

const { abs, max, sqrt } = Math;

/** A filled model whose counters have counted, each another number that no double can hold. */
export function filledModel(options: ModelOptions): { model: Model; state: State } {
  const model = buildModel(options);
  const state = filledState(model.graph);
  let counted = 2n ** 60n;
  for (const [name, { shape }] of state) {
    if (name.endsWith("num_batches_tracked")) {
      state.set(name, { shape, data: BigInt64Array.of(++counted) });
    }
  }
  return { model, state };
}

/** Writes a filled model, as a training run would have left it. */
export function writeFilled(
  path: string,
  options: ModelOptions,
  metadata: Parameters<typeof saveCheckpoint>[1]["metadata"] = {},
): { model: Model; state: State } {
  const filled = filledModel(options);
  saveCheckpoint(path, { ...filled, metadata });
  return filled;
}

/**
 * The largest distance of a file's tensors from the reference's deployed ones: of their l2 norms
 * relative to those, of sums and first elements relative to what rounding of that norm allows.
 * Names, their order and shapes have to be the same.
 */
export function distanceFromReference(path: string, reference: ModelReference): number {
  const file = openTensorFile(path);
  try {
    expect(Array.from(file.tensors.values(), ({ name, shape }) => [name, shape])).toEqual(
      reference.state_deploy.map(([name, shape]) => [name, shape]),
    );
    let worst = 0;
    for (const name of file.tensors.keys()) {
      const { data } = file.get(name) as { data: Float32Array };
      let [sum, squares] = [0, 0];
      for (let i = 0; i < data.length; i++) {
        const value = data[i]!;
        sum += value;
        squares += value * value;
      }
      const expected = reference.deploy.tensors[name]!;
      const scale = expected.l2 / sqrt(data.length);
      const distances = [
        abs(sqrt(squares) - expected.l2) / expected.l2,
        abs(sum - expected.sum) / (expected.l2 * sqrt(data.length)),
        ...expected.first4.map((first, i) => abs(data[i]! - first) / scale),
      ];
      worst = max(worst, ...distances);
    }
    return worst;
  } finally {
    file.close();
  }
}

/** What the deployed structure of a model should hold, computed by the library's `fold`. */
export function deployedState(model: Model, state: StateSource): State {
  const deployed = buildModel({ ...model, structure: "deploy" });
  useNativeSums(); // as convert does: to the last bit
  const folded = fold(model.graph, state);
  return new Map(
    parametersOf(deployed.graph).map(({ name }) => [name, toFloat32(folded.state.get(name)!)]),
  );
}

/** Expects a file to hold exactly these tensors: names in order, shapes, and every bit. */
export function expectState(path: string, expected: State): void {
  const file = openTensorFile(path);
  try {
    expect([...file.tensors.keys()]).toEqual([...expected.keys()]);
    for (const [name, tensor] of expected) {
      const found = file.get(name)!;
      expect([name, found.shape]).toEqual([name, tensor.shape]);
      // A matcher would take its time over millions of numbers.
      expect([name, bytesOf(found.data).equals(bytesOf(tensor.data))]).toEqual([name, true]);
    }
  } finally {
    file.close();
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** The metadata of a checkpoint that loads. */
export function metadataOf(path: string) {
  const checkpoint = loadCheckpoint(path);
  checkpoint.close();
  return checkpoint.metadata;
}
