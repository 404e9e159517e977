// What goes into an engine and what it says about it: images in two forms, labels in two, loss and counts.

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import type { Executable } from "../../../src/engine/types.js";
import { constantTensor, type State, type Tensor } from "../../../src/graph/index.js";
import { crossEntropy, hits } from "../../helpers/cross-entropy.js";
import { filledState } from "../../helpers/fill.js";
import {
  CLASSES,
  classLabels,
  floatImages,
  pixels,
  smallNetwork,
  softLabels,
} from "./small-networks.js";
import { load, ROUNDOFF, type Subject, subjectName } from "./subject.js";

/** Sums of at most 8 x 3x3 = 72 products, one after another in three layers; see blocks.ts. */
const SUMS = 32;

export function describeBatches(subject: Subject): void {
  const close = { relative: SUMS * ROUNDOFF[subject.precision] };
  const { hasGradients = true } = subject;

  describe(`batches (${subjectName(subject)})`, () => {
    const graph = smallNetwork();
    let network: Executable;

    beforeAll(async () => {
      network = await load(subject, graph, filledState(graph));
    });
    afterAll(() => network.dispose());

    const logitsOf = async (images: Parameters<Executable["infer"]>[0]) =>
      (await network.infer(images)).outputs.get("logits")!;

    it("bytes N,H,W,C are the numbers N,C,H,W that the graph's normalisation makes of them", async () => {
      const { bytes, numbers } = pixels("pixels", 4);
      expect(await logitsOf(bytes)).toBeCloseToTensor(await logitsOf(numbers), close);
      const labels = classLabels(4);
      const [left, right] = [
        await network.evaluate({ images: bytes, labels }),
        await network.evaluate({ images: numbers, labels }),
      ];
      expect(scalar(left.loss)).toBeCloseToTensor(scalar(right.loss), close);
      expect([left.top1, left.top5]).toEqual([right.top1, right.top5]);
    });

    it("an image's logits do not depend on the others in its batch, nor on batches before", async () => {
      const all = floatImages("images", 5);
      const together = await logitsOf(all);
      const length = all.data.length / 5;
      for (const n of [3, 0, 4]) {
        const data = all.data.slice(n * length, (n + 1) * length);
        const alone = await logitsOf({ shape: [1, ...all.shape.slice(1)], data });
        const expected = Array.from(together.data.slice(n * CLASSES, (n + 1) * CLASSES), Number);
        expect(alone).toBeCloseToTensor(
          { shape: [1, CLASSES], data: Float64Array.from(expected) },
          close,
        );
      }
    });

    it("evaluate gives the loss and the counts of infer's logits", async () => {
      for (const count of [1, 6, 40]) {
        const images = floatImages(`evaluate ${count}`, count);
        const labels = classLabels(count);
        const logits = await logitsOf(images);
        const found = await network.evaluate({ images, labels });
        expect(scalar(found.loss)).toBeCloseToTensor(scalar(crossEntropy(logits, labels)), close);
        expect(found.top1).toBe(hits(logits, labels, 1));
        expect(found.top5).toBe(hits(logits, labels, 5));
      }
    });

    it("evaluate takes a distribution for each image", async () => {
      const images = floatImages("soft", 6);
      const labels = softLabels("targets", 6);
      const { loss } = await network.evaluate({ images, labels });
      const expected = crossEntropy(await logitsOf(images), labels);
      expect(scalar(loss)).toBeCloseToTensor(scalar(expected), close);
    });

    it("hands out values by node id", async () => {
      const ids = graph.nodes
        .filter(({ op, type }) => type.world === "activation" && op.kind !== "input")
        .map(({ id }) => id);
      const { outputs, values } = await network.infer(floatImages("values", 2), { values: ids });
      expect([...values.keys()].sort((a, b) => a - b)).toEqual(ids);
      for (const id of ids) {
        expect([id, values.get(id)!.shape]).toEqual([id, [2, ...graph.nodes[id]!.type.shape]]);
      }
      const last = values.get(graph.outputs[0]!.value)!;
      expect(last).toBeCloseToTensor(outputs.get("logits")!, close);
    });

    if (!hasGradients) return;

    it("bytes have the gradients of their numbers, but none of their own", async () => {
      const { bytes, numbers } = pixels("pixels", 4);
      const objective = { labels: classLabels(4) };
      const fromBytes = await network.differentiate(bytes, objective);
      const fromNumbers = await network.differentiate(numbers, objective);
      expect(fromBytes.imageGradient).toBeUndefined();
      expect(fromNumbers.imageGradient?.shape).toEqual(numbers.shape);
      expect([...fromBytes.gradients.keys()]).toEqual([...fromNumbers.gradients.keys()]);
      // Gradients sum over pixels what batch norm has cancelled: as far again from the largest.
      for (const [name, gradient] of fromNumbers.gradients) {
        const limit = { relative: 4 * close.relative };
        expect(fromBytes.gradients.get(name)!).toBeCloseToTensor(gradient, limit);
      }
    });
  });

  describe(`counts (${subjectName(subject)})`, () => {
    it("equal logits lose log(classes); with five classes or fewer all images count", async () => {
      const graph = smallNetwork({ classes: 4 });
      const zero: State = new Map(
        [...filledState(graph)].map(([name, tensor]) =>
          name.startsWith("linear.") ? [name, zeros(tensor)] : [name, tensor],
        ),
      );
      const network = await load(subject, graph, zero);
      const batch = { images: floatImages("equal", 6), labels: classLabels(6, 4) };
      const { loss, top5 } = await network.evaluate(batch);
      await network.dispose();
      expect(scalar(loss)).toBeCloseToTensor(scalar(Math.log(4)), close);
      expect(top5).toBe(6);
    });
  });
}

const zeros = ({ shape }: Tensor) => constantTensor(shape, { kind: "constant", value: 0 });

export function scalar(value: number): Tensor {
  return { shape: [], data: Float64Array.of(value) };
}
