// What a training step's loss is made of: smoothing, distributions, auxiliary heads, penalties.

import { describe, expect, it } from "@jest/globals";

import type { Labels, TrainingOptions } from "../../../src/engine/types.js";
import { type Graph, type Tensor, toFloat64 } from "../../../src/graph/index.js";
import { crossEntropy } from "../../helpers/cross-entropy.js";
import { filledState } from "../../helpers/fill.js";
import { scalar } from "./batches.js";
import { CLASSES, classLabels, floatImages, smallNetwork, softLabels } from "./small-networks.js";
import { load, ROUNDOFF, type Subject, subjectName } from "./subject.js";

/** A small network's sums, and once more through its batch norms; see blocks.ts. */
const SUMS = 64;

const COUNT = 6;
const images = floatImages("images", COUNT);
const classes = classLabels(COUNT);

const RATE = 0.5;

export function describeLosses(subject: Subject): void {
  const close = { relative: SUMS * ROUNDOFF[subject.precision] };

  /** The loss of a training step, and what `differentiate` says beforehand. */
  async function stepOf(graph: Graph, labels: Labels, training: TrainingOptions) {
    const network = await load(subject, graph, filledState(graph), { training });
    const before = await network.differentiate(images, { labels });
    const { loss } = await network.trainStep({ images, labels }, { learningRate: 0 });
    await network.dispose();
    expect(scalar(before.loss!)).toBeCloseToTensor(scalar(loss), close);
    const ofHead = (name: string, smoothing?: number) =>
      crossEntropy(before.outputs.get(name)!, labels, smoothing);
    return { loss, ofHead, gradients: before.gradients, updates: before.updates };
  }

  const expectLoss = (found: number, expected: number) =>
    expect(scalar(found)).toBeCloseToTensor(scalar(expected), close);

  describe(`losses (${subjectName(subject)})`, () => {
    it.each<[string, Labels]>([
      ["classes", classes],
      ["distributions", softLabels("targets", COUNT)],
    ])("cross-entropy of %s, with and without smoothing", async (_what, labels) => {
      for (const labelSmoothing of [0, 0.1, 0.6]) {
        const { loss, ofHead } = await stepOf(smallNetwork(), labels, { labelSmoothing });
        expectLoss(loss, ofHead("logits", labelSmoothing));
      }
    });

    it("the last bias has the gradient softmax - target, on average", async () => {
      const network = await load(subject, smallNetwork(), filledState(smallNetwork()), {
        training: { labelSmoothing: 0.2 },
      });
      const { outputs, gradients } = await network.differentiate(images, { labels: classes });
      await network.dispose();
      const logits = outputs.get("logits")!;
      // By definition of the derivative: what a little more of one logit costs all images.
      const step = 2 ** -13;
      const slopes = Float64Array.from({ length: CLASSES }, (_, c) => {
        const along = (by: number) => crossEntropy(shifted(logits, c, by), classes, 0.2);
        return (along(step) - along(-step)) / (2 * step);
      });
      // The symmetric difference itself is off by step^2 / 6 of the third derivative.
      expect(gradients.get("linear.bias")!).toBeCloseToTensor(
        { shape: [CLASSES], data: slopes },
        { relative: close.relative, absolute: step ** 2 },
      );
    });

    it.each([{}, { auxiliaryWeight: 0.4 }])("auxiliary heads count: %j", async (options) => {
      const { auxiliaryWeight: weight = 0.1 }: TrainingOptions = options;
      const graph = smallNetwork({ auxiliary: true });
      const { loss, ofHead, gradients } = await stepOf(graph, classes, options);
      expectLoss(loss, ofHead("logits") + weight * ofHead("aux"));
      const full = await stepOf(graph, classes, { auxiliaryWeight: 1 });
      expect(gradients.get("aux.bias")!).toBeCloseToTensor(
        scaled(full.gradients.get("aux.bias")!, weight),
        close,
      );
    });

    it.each(["squares", "customL2"] as const)("the penalty %s, by its weight", async (penalty) => {
      const graph = smallNetwork({ penalty });
      const penaltyWeight = 0.05;
      const { loss, ofHead, gradients } = await stepOf(graph, classes, { penaltyWeight });
      const plain = await stepOf(graph, classes, {});
      expectLoss(plain.loss, ofHead("logits"));

      // It sees the running statistics that the step leaves, as the reference's does.
      const state = new Map([...filledState(graph), ...plain.updates]);
      const network = await load(subject, graph, state);
      const own = await network.differentiate(undefined, { output: "penalty" });
      await network.dispose();
      expect(own.loss).toBeGreaterThan(0);
      expectLoss(loss, plain.loss + penaltyWeight * own.loss!);
      expect(own.gradients.size).toBe(penalty === "squares" ? 1 : 2);
      for (const [name, gradient] of own.gradients) {
        expect(gradients.get(name)!).toBeCloseToTensor(
          sum(plain.gradients.get(name)!, scaled(gradient, penaltyWeight)),
          close,
        );
      }

      // The update goes along that gradient, the penalty once, in one batch or gathered over two.
      for (const batches of [1, 2]) {
        const training = { momentum: 0, penaltyWeight };
        const trained = await load(subject, graph, filledState(graph), { training });
        for (let batch = 1; batch <= batches; batch++) {
          const gathering = { update: batch === batches, gradientScale: 1 / batches };
          await trained.trainStep(
            { images, labels: classes },
            { learningRate: RATE, ...gathering },
          );
        }
        const after = (await trained.state()).state;
        await trained.dispose();
        // The second batch finds running statistics that the first has moved, which customL2 reads.
        if (batches === 2 && penalty === "customL2") continue;
        for (const name of own.gradients.keys()) {
          const before = filledState(graph).get(name)!;
          const expected = sum(before, scaled(gradients.get(name)!, -RATE));
          expect(after.get(name)!).toBeCloseToTensor(expected, close);
        }
      }
    });
  });
}

function shifted(tensor: Tensor, column: number, by: number): Tensor {
  const { shape, data } = toFloat64(tensor);
  const [, columns = 0] = shape;
  return { shape, data: data.map((value, i) => (i % columns === column ? value + by : value)) };
}

function scaled(tensor: Tensor, factor: number): Tensor {
  const { shape, data } = toFloat64(tensor);
  return { shape, data: data.map((value) => value * factor) };
}

function sum(a: Tensor, b: Tensor): Tensor {
  const [left, right] = [toFloat64(a).data, toFloat64(b).data];
  return { shape: a.shape, data: left.map((value, i) => value + right[i]!) };
}
