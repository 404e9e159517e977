// The reference's networks in training on tfjs-node; what is to be exact is computed by the torch engine.

import { describe, test } from "@jest/globals";

import { describeTfjs } from "../../../helpers/tfjs-engine.js";
import { loadTorchEngine } from "../../../helpers/torch-engine.js";
import { ALL, trainedModels } from "../../conformance/selection.js";
import { describeTraining } from "../../conformance/training.js";

const exactEngine = loadTorchEngine();

if (exactEngine === undefined) {
  describe.skip("tfjs:node training, skipped: no torch engine that computes in fp64", () => {
    test("networks", () => undefined);
  });
} else {
  await describeTfjs("tfjs:node training", "node", (engine) => {
    const names = ALL ? trainedModels() : ["dbb__ResNet-18__base"];
    const subject = { engine, precision: "fp32", sumsStatisticsInFloat32: true } as const;
    describeTraining({ ...subject, exactEngine }, names);
  });
}
