// One short training run on each engine: the same losses.

import { describe, expect, it } from "@jest/globals";

import type { Engine } from "../../../src/engine/types.js";
import { initialState } from "../../../src/graph/index.js";
import { fillInput } from "../../helpers/fill.js";
import { describeTfjs } from "../../helpers/tfjs-engine.js";
import { loadTorchEngine } from "../../helpers/torch-engine.js";
import { blockNetwork, CLASSES, SIDE } from "./block-network.js";

const STEPS = 8;
const COUNT = 16;

async function losses(engine: Engine): Promise<number[]> {
  const graph = blockNetwork();
  const executable = await engine.load(graph, initialState(graph, 1), {
    training: { labelSmoothing: 0.1, settings: () => ({ weightDecay: 1e-4 }) },
  });
  const found: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const images = fillInput(`step ${step}`, [COUNT, 3, SIDE, SIDE]);
    const labels = Int32Array.from({ length: COUNT }, (_, n) => (n + step) % CLASSES);
    found.push((await executable.trainStep({ images, labels }, { learningRate: 0.05 })).loss);
  }
  await executable.dispose();
  return found;
}

const torch = loadTorchEngine();
if (torch === undefined) {
  describe.skip("losses beside torch's, skipped: the torch engine is not there", () => {
    it.todo("are the same");
  });
} else {
  const expected = losses(torch);
  for (const backend of ["wasm", "node"] as const) {
    await describeTfjs(`losses of tfjs:${backend} beside torch's`, backend, (engine) => {
      it("are the same within 1e-3", async () => {
        const found = await losses(engine);
        for (const [step, loss] of (await expected).entries()) {
          expect(Math.abs(found[step]! - loss)).toBeLessThan(1e-3);
        }
        expect(found).toHaveLength(STEPS);
      }, 120_000);
    });
  }
}
