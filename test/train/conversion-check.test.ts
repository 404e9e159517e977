// The check at the end of a run: it must fail where the two forms differ, and only there.

import { expect, test } from "@jest/globals";

import type { Engine, Executable, LoadOptions } from "../../src/engine/types.js";
import { initialState } from "../../src/graph/index.js";
import { checkConversion } from "../../src/train/conversion-check.js";
import { buildModel } from "../../src/zoo/index.js";

const model = buildModel({ arch: "MobileNet", block: "DBB", numClasses: 2, imageSize: 32 });
const state = initialState(model.graph, 0);
const released: number[] = [];
const validation = {
  images: 2,
  async *batches() {
    for (const batch of [0, 1]) {
      const images = { shape: [1, 32, 32, 3], data: new Uint8Array(32 * 32 * 3) };
      yield { images, labels: Int32Array.of(0), release: () => released.push(batch) };
    }
  },
};

/** An engine whose first model has logits [10, -20], and its second those given. */
async function check(...deployed: number[]) {
  const loads: LoadOptions[] = [];
  const disposed: number[] = [];
  const engine = {
    load: async (_graph: unknown, _state: unknown, options: LoadOptions) => {
      const place = loads.push(options) - 1;
      const data = Float32Array.from(place === 0 ? [10, -20] : deployed);
      return {
        infer: async () => ({ outputs: new Map([["logits", { shape: [1, 2], data }]]) }),
        evaluate: async () => ({ loss: 1, top1: 1, top5: 1 }),
        dispose: async () => void disposed.push(place),
      } as unknown as Executable;
    },
  } as unknown as Engine;
  const signal = new AbortController().signal;
  const trained = { graph: model.graph, state, acc1: 50 };
  const found = await checkConversion(engine, { threads: 1 }, trained, validation, signal);
  expect(loads).toEqual([0, 1].map(() => ({ threads: 1, precision: "fp32" })));
  expect(disposed).toEqual([0, 1]);
  expect(released.splice(0)).toEqual([0, 0, 1]);
  return found;
}

test("equal logits pass", async () => {
  const found = await check(10, -20);
  expect(found).toMatchObject({ ok: true, maxAbsDiff: 0, accBefore: 50, accAfter: 100 });
  expect(found.tolerance).toBeCloseTo(1e-4 * 20, 12);
  expect(found.paramsDeploy).toBeLessThan(found.paramsTrain);
});

test.each([
  [10.0015, true],
  [10.0025, false],
  [9.9975, false],
  [NaN, false],
])("a logit of %d instead of 10: ok is %s", async (logit, ok) => {
  expect((await check(logit, -20)).ok).toBe(ok);
});
