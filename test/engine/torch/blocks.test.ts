// The reference's blocks on the torch engine.

import { describeTorchDevices } from "../../helpers/torch-engine.js";
import { describeBlocks } from "../conformance/blocks.js";

describeTorchDevices("torch blocks", (engine, device) => {
  for (const precision of ["fp64", "fp32", "bf16"] as const)
    describeBlocks({ engine, device, precision });
});
