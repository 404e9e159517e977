// tfjs-node holds as many tensors after a step as before it: the layers of its own leave nothing behind.

import { expect, test } from "@jest/globals";

import { randomBatch } from "../../../../src/bench/index.js";
import { initialState } from "../../../../src/graph/index.js";
import { buildModel } from "../../../../src/zoo/index.js";
import { describeTfjs } from "../../../helpers/tfjs-engine.js";

await describeTfjs("tfjs:node memory", "node", (engine) => {
  test.each([
    ["ResNet-18", "DBB"],
    ["MobileNet", "base"],
  ])(
    "%s x %s: as many tensors after a step as before",
    async (arch, block) => {
      const imageSize = 32;
      const numClasses = 10;
      const { graph } = buildModel({ arch, block, structure: "train", imageSize, numClasses });
      const network = await engine.load(graph, initialState(graph, 3), { training: {} });
      const batch = randomBatch({ size: 2, imageSize, numClasses }, 1);
      const held: unknown[] = [];
      for (let step = 0; step < 3; step++) {
        await network.trainStep(batch, { learningRate: 1e-3 });
        held.push(await network.memory());
      }
      await network.dispose();
      // The first step made the velocities.
      expect(held[1]).toEqual(held[0]);
      expect(held[2]).toEqual(held[0]);
    },
    60_000,
  );
});
