// The reference's blocks on the torch engine.

import { describeTorch } from "../../helpers/torch-engine.js";
import { describeBlocks } from "../conformance/blocks.js";

describeTorch("torch blocks", (engine) => {
  for (const precision of ["fp64", "fp32", "bf16"] as const) describeBlocks({ engine, precision });
});
