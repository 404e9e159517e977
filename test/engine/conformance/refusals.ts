// What an engine refuses, and that it goes on working afterwards.

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import type { Executable, Labels } from "../../../src/engine/types.js";
import { RepkitError } from "../../../src/errors.js";
import type { Images, State, Tensor } from "../../../src/graph/index.js";
import { failureOf } from "../../helpers/failures.js";
import { filledState } from "../../helpers/fill.js";
import { CLASSES, classLabels, floatImages, smallNetwork } from "./small-networks.js";
import { load, type Subject, subjectName } from "./subject.js";

const images = floatImages("images", 4);
const labels = classLabels(4);
const reshaped = (shape: number[]): Tensor => ({ shape, data: images.data });

const WRONG_IMAGES: readonly (readonly [what: string, images: Images])[] = [
  ["no image", { shape: [0, 3, 9, 8], data: new Float32Array(0) }],
  ["another size", reshaped([4, 3, 8, 9])],
  ["channels last, but no bytes", reshaped([4, 9, 8, 3])],
  ["bytes with channels first", { shape: [4, 3, 9, 8], data: new Uint8Array(4 * 3 * 9 * 8) }],
  ["a missing axis", reshaped([12, 9, 8])],
  ["fewer values than the shape says", { shape: [5, 3, 9, 8], data: images.data }],
];

const WRONG_LABELS: readonly (readonly [what: string, labels: Labels])[] = [
  ["one too few", labels.subarray(1)],
  ["one too many", classLabels(5)],
  ["a negative class", Int32Array.of(0, 1, -1, 2)],
  ["a class beyond the last", Int32Array.of(0, CLASSES, 1, 2)],
  ["distributions over fewer classes", soft([4, CLASSES - 1])],
  ["distributions for fewer images", soft([3, CLASSES])],
];

function soft(shape: [number, number]): Tensor {
  const [count, classes] = shape;
  return { shape, data: new Float32Array(count * classes).fill(1 / classes) };
}

export function describeRefusals(subject: Subject): void {
  const { hasGradients = true } = subject;
  const graph = smallNetwork();
  const state = filledState(graph);

  describe(`refusals (${subjectName(subject)})`, () => {
    let network: Executable;
    let logits: Tensor;

    beforeAll(async () => {
      network = await load(subject, graph, state, hasGradients ? { training: {} } : {});
      logits = (await network.infer(images)).outputs.get("logits")!;
    });
    afterAll(() => network.dispose());

    /** The call is refused with one line, and what was there before still works. */
    async function expectRefusal(call: () => Promise<unknown>, kind = "usage"): Promise<void> {
      const failure = await failureOf(call);
      expect([failure.kind, failure.message]).toEqual([kind, expect.stringMatching(/^[^\n]+$/)]);
      expect((await network.infer(images)).outputs.get("logits")!).toBeCloseToTensor(logits);
    }

    it.each(WRONG_IMAGES)("images: %s", async (_what, wrong) => {
      await expectRefusal(() => network.infer(wrong));
      await expectRefusal(() => network.evaluate({ images: wrong, labels }));
      if (!hasGradients) return;
      await expectRefusal(() => network.differentiate(wrong, { labels }));
      await expectRefusal(() =>
        network.trainStep({ images: wrong, labels }, { learningRate: 0.1 }),
      );
    });

    it.each(WRONG_LABELS)("labels: %s", async (_what, wrong) => {
      await expectRefusal(() => network.evaluate({ images, labels: wrong }));
      if (!hasGradients) return;
      await expectRefusal(() => network.differentiate(images, { labels: wrong }));
      await expectRefusal(() =>
        network.trainStep({ images, labels: wrong }, { learningRate: 0.1 }),
      );
    });

    it("a node that is not there", async () => {
      await expectRefusal(() => network.infer(images, { values: [graph.nodes.length] }));
    });

    it("an objective that is not there", async () => {
      await expectRefusal(() => network.differentiate(images, { output: "penalty" }));
    });

    if (hasGradients) {
      it("an output gradient of another shape", async () => {
        const outputGradient = soft([4, CLASSES - 1]);
        await expectRefusal(() => network.differentiate(images, { outputGradient }));
      });

      it.each([
        { training: { labelSmoothing: 2 } },
        { training: { clipNorm: -1 } },
        { training: { emaDecay: Number.NaN } },
        { threads: 0 },
      ])("an option out of range: %j", async (options) => {
        const failure = await failureOf(() => load(subject, graph, state, options));
        expect(failure.kind).toBe("usage");
      });
    }

    it.each<[string, (state: State) => void]>([
      ["a missing tensor", (state) => state.delete("linear.bias")],
      [
        "a misshapen tensor",
        (state) =>
          state.set("linear.bias", { shape: [1, CLASSES], data: new Float32Array(CLASSES) }),
      ],
    ])("a state with %s, named", async (_what, spoil) => {
      const spoilt = new Map(state);
      spoil(spoilt);
      const failure = await failureOf(() => load(subject, graph, spoilt));
      expect([failure.kind, failure.message]).toEqual([
        "usage",
        expect.stringContaining("linear.bias"),
      ]);
      await expectRefusal(() => network.restore({ state: spoilt }));
    });

    it("a device that is not there", async () => {
      const call = () => load({ ...subject, device: "cuda:97" }, graph, state);
      expect((await failureOf(call)).kind).toBe("environment");
    });

    it("everything after dispose", async () => {
      const other = await load(subject, graph, state, hasGradients ? { training: {} } : {});
      await other.dispose();
      const calls = [
        () => other.infer(images),
        () => other.evaluate({ images, labels }),
        () => other.differentiate(images, { labels }),
        () => other.trainStep({ images, labels }, { learningRate: 0.1 }),
        () => other.state(),
        () => other.restore({ state }),
      ];
      for (const call of calls) await expect(call()).rejects.toBeInstanceOf(RepkitError);
    });
  });
}
