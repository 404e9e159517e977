// What TensorFlow.js holds on to: after each call as much as before it, and nothing after the last executable.

import { expect, it } from "@jest/globals";

import type { TrainingOptions } from "../../../src/engine/types.js";
import type { Graph } from "../../../src/graph/index.js";
import { fillInput, filledState } from "../../helpers/fill.js";
import { describeTfjs } from "../../helpers/tfjs-engine.js";
import { smallNetwork } from "../conformance/small-networks.js";
import { blockNetwork, SIDE } from "./block-network.js";

const COUNT = 2;

const everything: TrainingOptions = {
  ...{ nesterov: true, labelSmoothing: 0.1, clipNorm: 1, emaDecay: 0.9, penaltyWeight: 1e-4 },
  settings: () => ({ weightDecay: 1e-4, lrMultiplier: 2 }),
};

await describeTfjs("tfjs:wasm memory", "wasm", (engine) => {
  it.each<[string, () => Graph, number]>([
    ["auxiliary head and penalty", () => smallNetwork({ auxiliary: true, penalty: "customL2" }), 0],
    ["every kind of block", blockNetwork, SIDE],
  ])(
    "%s: as many tensors after a call as before",
    async (_what, build, side) => {
      const graph = build();
      const shape = side === 0 ? [COUNT, 3, 9, 8] : [COUNT, 3, side, side];
      const images = fillInput("images", shape);
      const batch = { images, labels: Int32Array.of(1, 5) };
      const executable = await engine.load(graph, filledState(graph), {
        checkFinite: true,
        training: everything,
      });
      const step = { learningRate: 0.01 };
      // The first step makes the velocities, the first evaluation keeps the weights it has computed.
      await executable.trainStep(batch, step);
      const trained = await executable.memory();
      await executable.infer(images);
      const evaluated = await executable.memory();

      const calls: (() => Promise<unknown>)[] = [
        () => executable.infer(images),
        () => executable.infer(images, { values: [graph.outputs[0]!.value] }),
        () => executable.evaluate(batch),
        () => executable.differentiate(images, { labels: batch.labels }),
        () => executable.state(),
      ];
      for (const call of calls) {
        await call();
        expect(await executable.memory()).toEqual(evaluated);
      }
      await executable.trainStep(batch, { ...step, update: false });
      expect((await executable.memory()).tensors).toBeGreaterThan(trained.tensors);
      for (let time = 0; time < 2; time++) {
        await executable.trainStep(batch, step);
        expect(await executable.memory()).toEqual(trained);
      }
      const poisoned = { shape: images.shape, data: images.data.map(() => NaN) };
      const failing = executable.trainStep({ ...batch, images: poisoned }, step);
      await expect(failing).rejects.toMatchObject({ kind: "diverged" });
      expect(await executable.memory()).toEqual(trained);
      const { state, momentum, ema } = await executable.state();
      await executable.restore({ state, momentum, ...(ema && { ema }) });
      expect(await executable.memory()).toEqual(trained);

      const other = await engine.load(graph, filledState(graph));
      await executable.dispose();
      const { tensors } = await other.memory();
      expect(tensors).toBeLessThan(trained.tensors);
      expect(tensors).toBeGreaterThan(0);
      await other.dispose();
    },
    60_000,
  );
});
