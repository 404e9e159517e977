// What is measured, and what comes of the numbers; with an engine that computes nothing.

import { describe, expect, it } from "@jest/globals";

import { measure, median, operationsPerImage, randomBatch } from "../../src/bench/index.js";
import { graphMacs } from "../../src/graph/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { fakeEngine } from "./fake-engine.js";

const model = buildModel({ arch: "MobileNet", block: "base", numClasses: 10, imageSize: 32 });
const base = { batchSize: 2, steps: 3, warmup: 2, seed: 0 };

describe("measure", () => {
  it("counts the runs after the warm-up: median, least, images and operations per second", async () => {
    const engine = fakeEngine({ milliseconds: [90, 90, 30, 60, 40] });
    const result = await measure(engine, model, "step", base);
    expect(engine.runs.map(({ kind }) => kind)).toEqual(Array(5).fill("step"));
    expect(result.seconds).toHaveLength(3);
    // A busy machine may take longer for any of them.
    const [least, middle] = result.seconds.toSorted((a, b) => a - b);
    expect(result.medianSeconds).toBe(middle);
    expect(result.minSeconds).toBe(least);
    expect(result.medianSeconds).toBeGreaterThan(0.038);
    expect(result.imagesPerSecond).toBe(2 / result.medianSeconds);
    const operations = 2 * 3 * 2 * graphMacs(model.graph);
    expect(result.operationsPerSecond).toBeCloseTo(operations / result.medianSeconds, 0);
    expect(result.loss).toBe(7 - 5);
    expect(result.profile).toBeUndefined();
  });

  it("trains with the references' SGD on one batch, the same for the same seed", async () => {
    const engine = fakeEngine();
    await measure(engine, model, "step", { ...base, precision: "bf16", threads: 3, device: "cpu" });
    expect(engine.loads).toMatchObject([{ precision: "bf16", threads: 3, device: "cpu" }]);
    expect(engine.loads[0]?.training?.momentum).toBe(0.9);
    const batches = new Set(engine.runs.map(({ batch }) => batch));
    expect(batches.size).toBe(1);
    const shape = { size: 2, imageSize: 32, numClasses: 10 };
    expect([...batches]).toEqual([randomBatch(shape, 0)]);
    expect(randomBatch(shape, 1)).not.toEqual(randomBatch(shape, 0));
  });

  it("runs inference without an optimizer", async () => {
    const engine = fakeEngine();
    const result = await measure(engine, model, "forward", base);
    expect(engine.loads).toEqual([{}]);
    expect(engine.runs.map(({ kind }) => kind)).toEqual(Array(5).fill("forward"));
    expect(result.loss).toBeUndefined();
  });

  it("reports progress before each run", async () => {
    const seen: (readonly [number, number])[] = [];
    const onProgress = (done: number, total: number) => seen.push([done, total]);
    await measure(fakeEngine(), model, "step", { ...base, onProgress });
    expect(seen).toEqual([0, 1, 2, 3, 4].map((done) => [done, 5]));
  });

  it("asks for a profile where it is wanted and the engine has one", async () => {
    const profile = [{ name: "conv2d", calls: 27, seconds: 0.5 }];
    const wanted = { ...base, profile: true };
    expect((await measure(fakeEngine({ profile }), model, "step", wanted)).profile).toBe(profile);
    expect((await measure(fakeEngine({ profile }), model, "step", base)).profile).toBeUndefined();
    expect((await measure(fakeEngine(), model, "step", wanted)).profile).toBeUndefined();
  });

  it("frees the model, after a failure too", async () => {
    const good = fakeEngine();
    await measure(good, model, "step", base);
    const bad = fakeEngine({ failsAt: 3 });
    await expect(measure(bad, model, "step", base)).rejects.toThrow("the machine is on fire");
    expect([good.disposed.count, bad.disposed.count]).toEqual([1, 1]);
  });
});

describe("randomBatch", () => {
  const { images, labels } = randomBatch({ size: 16, imageSize: 16, numClasses: 5 }, 7);

  it("has every byte and every class, and no other", () => {
    expect(images.shape).toEqual([16, 16, 16, 3]);
    expect(new Set(images.data as Uint8Array).size).toBe(256);
    expect([...new Set(labels)].sort()).toEqual([0, 1, 2, 3, 4]);
  });
});

it("operationsPerImage: two per multiply-add, three passes in a training step", () => {
  expect(operationsPerImage(model, "forward")).toBe(2 * graphMacs(model.graph));
  expect(operationsPerImage(model, "step")).toBe(6 * graphMacs(model.graph));
});

it.each([
  [[3, 1, 2], 2],
  [[4, 1, 3, 2], 2.5],
  [[5], 5],
  [[], NaN],
])("median of %j is %d", (values, expected) => {
  expect(median(values)).toBe(expected);
});
