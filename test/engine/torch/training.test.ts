// The reference's networks in training on the torch engine.

import { describeTorch } from "../../helpers/torch-engine.js";
import { describeTraining } from "../conformance/training.js";

describeTorch("torch training", (engine) => {
  for (const precision of ["fp64", "fp32"] as const) describeTraining({ engine, precision });
  describeTraining({ engine, precision: "bf16" }, ["dbb__ResNet-18__base"]);
});
