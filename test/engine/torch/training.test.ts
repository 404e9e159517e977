// The reference's networks in training on the torch engine.

import { describeTorchDevices } from "../../helpers/torch-engine.js";
import { describeTraining } from "../conformance/training.js";

describeTorchDevices("torch training", (engine, device) => {
  for (const precision of ["fp64", "fp32"] as const)
    describeTraining({ engine, device, precision });
  describeTraining({ engine, device, precision: "bf16" }, ["dbb__ResNet-18__base"]);
});
