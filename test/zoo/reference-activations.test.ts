// Whole networks against the reference's own float64 numbers: logits and every block's output.

import { describe, expect, it } from "@jest/globals";

import { type Float64Tensor, interpret, type Node } from "../../src/graph/index.js";
import { useNativeSums } from "../../src/linalg/use-native.js";
import { buildModel } from "../../src/zoo/index.js";
import { fillInput, filledState } from "../helpers/fill.js";
import { readModel } from "../helpers/fixtures.js";
import { outputOf } from "../helpers/graphs.js";

/**
 * Both sides compute in float64 from the same float32 weights and differ in the order of their sums
 * alone: of some thousand terms each, whose rounding grows like the root, about 30 * 2^-53 = 3e-15.
 * Measured: 1e-15 to 3e-15 of the largest logit, activations below 1e-15; in training, where
 * normalising by few values amplifies, up to 2e-14. The limits leave thirty times that.
 */
const EVALUATION = 1e-13;
const TRAINING = 5e-13;

const EVALUATED = [
  "orepa__ResNet-18__base",
  "orepa__ResNet-18__DBB",
  "orepa__ResNet-18__OREPA",
  "repvgg__RepVGG-A0__RepVGG",
  "orepa__RepVGG-A0__OREPA_VGG",
  "dbb__MobileNet__DBB",
  "orepa__ResNet-50__DBB",
  "orepa__ResNeXt-50__DBB",
  "orepa__ResNeXt-50__OREPA",
];
const TRAINED = ["orepa__ResNet-18__DBB", "repvgg__RepVGG-A0__RepVGG"];

/** Root of the sum of squares of each sample. */
function norms({ shape, data }: Float64Tensor): number[] {
  const [batch = 0] = shape;
  const length = data.length / batch;
  return Array.from({ length: batch }, (_, n) => {
    let sum = 0;
    for (let i = n * length; i < (n + 1) * length; i++) sum += data[i]! ** 2;
    return Math.sqrt(sum);
  });
}

/** The recorded first logits of each sample, compared relative to the largest of them. */
function expectLogits(
  logits: Float64Tensor,
  head: readonly (readonly number[])[],
  relative: number,
) {
  const [batch = 0, classes = 0] = logits.shape;
  const recorded = head[0]?.length ?? 0;
  expect([batch, recorded]).toEqual([head.length, 16]);
  const found = head.flatMap((_, n) => [...logits.data.slice(n * classes, n * classes + recorded)]);
  expect({ shape: [batch, recorded], data: Float64Array.from(found) }).toBeCloseToTensor(
    { shape: [batch, recorded], data: Float64Array.from(head.flat()) },
    { relative },
  );
}

function relativeErrors(found: readonly number[], expected: readonly number[]): number {
  return Math.max(...expected.map((value, i) => Math.abs(found[i]! - value) / value));
}

useNativeSums(); // the portable ones are slower, and as exact

describe.each(EVALUATED)("%s, evaluation", (name) => {
  it("has the reference's logits and activations", () => {
    const reference = readModel(name);
    const { graph } = buildModel({ ...reference, imageSize: 64 });
    // The value of a block is what its scope computes last.
    const scopes = Object.keys(reference.eval.activations);
    const last = new Map<string, { shape: readonly number[]; l2: number[] }>();
    const onValue = ({ name, type }: Node, value: Float64Tensor) => {
      if (type.world !== "activation") return;
      const scope = scopes.find((scope) => name === scope || name.startsWith(`${scope}.`));
      if (scope !== undefined) last.set(scope, { shape: value.shape, l2: norms(value) });
    };
    const images = fillInput("input", [2, 3, 64, 64]);
    const result = interpret(graph, filledState(graph), images, { mode: "infer", onValue });

    const logits = outputOf(result, "logits");
    expectLogits(logits, reference.eval.logits_head_f64, EVALUATION);
    expect(relativeErrors(norms(logits), reference.eval.logits_l2_f64)).toBeLessThan(EVALUATION);

    expect([...last.keys()]).toEqual(scopes);
    for (const [scope, { shape, l2_f64 }] of Object.entries(reference.eval.activations)) {
      const found = last.get(scope)!;
      // A pooled map counts as flat or as 1x1, as it pleases either side.
      expect(found.shape.filter((extent) => extent !== 1)).toEqual(shape.filter((n) => n !== 1));
      expect(relativeErrors(found.l2, l2_f64)).toBeLessThan(EVALUATION);
    }
  });
});

describe.each(TRAINED)("%s, training", (name) => {
  it("has the reference's logits and running statistics after one step", () => {
    const reference = readModel(name);
    const train = reference.train!;
    const { graph } = buildModel({ ...reference, imageSize: 64 });
    const images = fillInput("train_input", [4, 3, 64, 64]);
    const result = interpret(graph, filledState(graph), images, { mode: "train" });
    expectLogits(outputOf(result, "logits"), train.logits_head_f64, TRAINING);

    const statistics = [...result.updates].filter(([name]) => !name.endsWith("_tracked"));
    expect(statistics.map(([name]) => name).sort()).toEqual(Object.keys(train.running).sort());
    for (const [name, { shape, data }] of statistics) {
      // Recorded in float32 alone.
      const [l2] = norms({ shape: [1, ...shape], data: data as Float64Array });
      expect(relativeErrors([l2!], [train.running[name]!.l2])).toBeLessThan(1e-5);
    }
  });
});
