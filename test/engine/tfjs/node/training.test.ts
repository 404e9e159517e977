// The reference's networks in training on tfjs-node; what is to be exact is computed by the torch engine.

import { describeTfjs } from "../../../helpers/tfjs-engine.js";
import { loadTorchEngine } from "../../../helpers/torch-engine.js";
import { ALL, trainedModels } from "../../conformance/selection.js";
import { describeTraining } from "../../conformance/training.js";

const exactEngine = loadTorchEngine();

if (exactEngine === undefined) {
  await describeTfjs("tfjs:node training, skipped: no torch engine computes in fp64", "cpu", () => {
    test.skip("training", () => undefined);
  });
} else {
  await describeTfjs("tfjs:node training", "node", (engine) => {
    const names = ALL ? trainedModels() : ["dbb__ResNet-18__base", "repvgg__RepVGG-A0__RepVGG"];
    describeTraining({ engine, precision: "fp32", exactEngine }, names);
  });
}
