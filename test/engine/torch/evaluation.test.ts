// The reference's networks in evaluation on the torch engine.

import { describeTorchDevices } from "../../helpers/torch-engine.js";
import { describeEvaluation } from "../conformance/evaluation.js";

/** One of each kind: what bf16 does to them shows in any precision of the rest. */
const COARSE = [
  "dbb__MobileNet__DBB",
  "orepa__ResNet-18__OREPA",
  "orepa__ResNet-50__DBB",
  "repvgg__RepVGG-A0__RepVGG",
];

describeTorchDevices("torch evaluation", (engine, device) => {
  for (const precision of ["fp64", "fp32"] as const)
    describeEvaluation({ engine, device, precision });
  describeEvaluation({ engine, device, precision: "bf16" }, COARSE);
});
