// The life of an executable: its state comes and goes, calls keep their order, nothing blocks.

import { types } from "node:util";

import { describe, expect, it } from "@jest/globals";

import type { Executable, ExecutableState, LoadOptions } from "../../../src/engine/types.js";
import { GraphBuilder, initialState, type State, type Tensor } from "../../../src/graph/index.js";
import { failureOf } from "../../helpers/failures.js";
import { filledState } from "../../helpers/fill.js";
import { classLabels, floatImages, smallNetwork } from "./small-networks.js";
import { load, type Subject, subjectName } from "./subject.js";

const COUNT = 6;
const STEP = { learningRate: 0.1 };
const training: LoadOptions["training"] = { nesterov: true, emaDecay: 0.9 };

export function describeLifecycle(subject: Subject): void {
  const graph = smallNetwork();
  const start = (state: State = filledState(graph), options: LoadOptions = {}) =>
    load(subject, graph, state, { training: training!, deterministic: true, ...options });
  const batch = (s: number) => ({
    images: floatImages(`step ${s}`, COUNT),
    labels: classLabels(COUNT),
  });
  const train = async (network: Executable, steps: readonly number[]) => {
    const losses: number[] = [];
    for (const s of steps) losses.push((await network.trainStep(batch(s), STEP)).loss);
    return losses;
  };

  describe(`lifecycle (${subjectName(subject)})`, () => {
    it("the same steps from the same state give the same bits", async () => {
      const [a, b] = [await start(), await start()];
      expect(await train(a, [0, 1, 2])).toEqual(await train(b, [0, 1, 2]));
      expectSame(await a.state(), await b.state());
      await a.dispose();
      await b.dispose();
    });

    it("a state put into another executable resumes as if nothing had been", async () => {
      const first = await start();
      await train(first, [0, 1]);
      const { state, momentum, ema } = await first.state();
      const second = await start(state);
      await second.restore({ momentum, ...(ema === undefined ? {} : { ema }) });
      expectSame(await second.state(), { state, momentum, ema });
      expect(await train(second, [2, 3])).toEqual(await train(first, [2, 3]));
      expectSame(await second.state(), await first.state());
      await first.dispose();
      await second.dispose();
    });

    it("a state put back undoes what came after it", async () => {
      const network = await start();
      await train(network, [0]);
      const saved = await network.state();
      const losses = await train(network, [1, 2]);
      await network.restore({
        state: saved.state,
        momentum: saved.momentum,
        ...(saved.ema === undefined ? {} : { ema: saved.ema }),
      });
      expectSame(await network.state(), saved);
      expect(await train(network, [1, 2])).toEqual(losses);
      await network.dispose();
    });

    it("a state from before the first update puts back that there was no momentum", async () => {
      const network = await start();
      const { state, momentum, ema } = await network.state();
      const losses = await train(network, [0, 1, 2]);
      await network.restore({ state, momentum, ...(ema === undefined ? {} : { ema }) });
      expect((await network.state()).momentum.size).toBe(0);
      expect(await train(network, [0, 1, 2])).toEqual(losses);
      await network.dispose();
    });

    it("a state is a copy, and so is what was loaded", async () => {
      const given = filledState(graph);
      const before = filledState(graph);
      const network = await start(given);
      blank(given);
      const { state } = await network.state();
      for (const [name, tensor] of state) expect(tensor).toBeCloseToTensor(before.get(name)!);
      blank(state);
      expectSame(await network.state(), { state: before, momentum: new Map(), ema: before });
      await network.dispose();
    });

    it("states stand in state-dict order; there is no momentum before the first update", async () => {
      const network = await start();
      const { state, momentum, ema } = await network.state();
      expect([...state.keys()]).toEqual([...filledState(graph).keys()]);
      expect([...ema!.keys()]).toEqual([...state.keys()]);
      expect(momentum.size).toBe(0);
      await network.trainStep(batch(0), { ...STEP, update: false });
      expect((await network.state()).momentum.size).toBe(0);
      await network.dispose();
      const plain = await start(undefined, { training: {} });
      expect((await plain.state()).ema).toBeUndefined();
      await plain.dispose();
    });

    it("two executables side by side do not touch each other", async () => {
      const alone = await start();
      const expected = await train(alone, [0, 1, 2]);
      await alone.dispose();
      const [a, b] = [await start(), await start(initialState(graph, 5))];
      const losses: number[] = [];
      for (const s of [0, 1, 2]) {
        const [own] = await Promise.all([
          a.trainStep(batch(s), STEP),
          b.trainStep(batch(s + 7), { learningRate: 0.5 }),
        ]);
        losses.push(own.loss);
      }
      expect(losses).toEqual(expected);
      await b.dispose();
      expect(await train(a, [3])).toEqual([expect.any(Number)]);
      await a.dispose();
    });

    it("differentiating and evaluating change nothing", async () => {
      const network = await start();
      await train(network, [0]);
      const before = await network.state();
      await network.differentiate(batch(1).images, { labels: batch(1).labels });
      await network.evaluate(batch(2));
      await network.infer(batch(3).images);
      expectSame(await network.state(), before);
      await network.dispose();
    });

    it("calls wait for those before them", async () => {
      const [queued, awaited] = [await start(), await start()];
      const calls = [
        queued.trainStep(batch(0), STEP),
        queued.state(),
        queued.trainStep(batch(1), STEP),
        queued.state(),
        queued.dispose(),
      ] as const;
      const [first, middle, second, last] = await Promise.all(calls);
      expect([first.loss]).toEqual(await train(awaited, [0]));
      expectSame(middle, await awaited.state());
      expect([second.loss]).toEqual(await train(awaited, [1]));
      expectSame(last, await awaited.state());
      await awaited.dispose();
    });

    it("evaluation sees the weights of the last update", async () => {
      const network = await start();
      const before = await network.evaluate(batch(0));
      await train(network, [0, 1]);
      const after = await network.evaluate(batch(0));
      expect(after.loss).not.toBe(before.loss);
      const { state } = await network.state();
      const fresh = await start(state);
      expect(await fresh.evaluate(batch(0))).toEqual(after);
      await network.restore({ state: filledState(graph) });
      expect(await network.evaluate(batch(0))).toEqual(before);
      await network.dispose();
      await fresh.dispose();
    });

    it("a loss that is not finite fails the step and changes nothing, where that is asked for", async () => {
      const network = await start(undefined, { checkFinite: true });
      await train(network, [0]);
      const before = await network.state();
      const { images, labels } = batch(1);
      const poisoned = { shape: images.shape, data: images.data.slice() };
      poisoned.data[17] = NaN;
      const failure = await failureOf(() => network.trainStep({ images: poisoned, labels }, STEP));
      expect(failure.kind).toBe("diverged");
      expectSame(await network.state(), before);
      expect(await train(network, [1])).toEqual([expect.any(Number)]);
      await network.dispose();
    });

    it("a step that is refused does not leave half a gradient behind", async () => {
      const [network, other] = [await start(), await start()];
      const { images } = batch(0);
      const labels = Int32Array.from({ length: COUNT }, () => -1);
      await failureOf(() => network.trainStep({ images, labels }, STEP));
      expect(await train(network, [1])).toEqual(await train(other, [1]));
      expectSame(await network.state(), await other.state());
      await network.dispose();
      await other.dispose();
    });

    it("timers fire while a step runs", async () => {
      const scope = new GraphBuilder().root();
      const x = scope.input([32, 64, 64]);
      const kernel = scope.param("weight", [64, 32, 5, 5], {
        init: { kind: "kaimingUniform", a: 1 },
        decay: "kernel",
      });
      const map = scope.globalAvgPool(scope.conv2d(x, kernel, undefined, { padding: 2 }));
      const large = scope.builder.build({ logits: scope.flatten(map) });
      const network = await load(subject, large, initialState(large, 0), { training: {} });
      const images = { shape: [8, 32, 64, 64], data: new Float32Array(8 * 32 * 64 * 64).fill(0.5) };
      const labels = classLabels(8, 64);
      let ticks = 0;
      const timer = setInterval(() => ticks++, 5);
      const begin = performance.now();
      await Promise.all([0, 1, 2].map(() => network.trainStep({ images, labels }, STEP)));
      const elapsed = performance.now() - begin;
      clearInterval(timer);
      await network.dispose();
      // Each of three steps lets the timer in several times, unless it is over before the timer is due.
      expect(ticks).toBeGreaterThanOrEqual(Math.min(6, Math.floor(elapsed / 20)));
    }, 60_000);
  });
}

function blank(state: State): void {
  for (const { data } of state.values()) {
    if (types.isBigInt64Array(data)) data.fill(0n);
    else (data as Float32Array).fill(0);
  }
}

/** Names in the same order, and the same bits. */
function expectSame(found: ExecutableState, expected: ExecutableState): void {
  const listed = ({ state, momentum, ema }: ExecutableState) =>
    [state, momentum, ema ?? new Map<string, Tensor>()].map((tensors) =>
      [...tensors].map(([name, { shape, data }]) => [name, shape, Array.from(data, String).join()]),
    );
  expect(listed(found)).toEqual(listed(expected));
}
