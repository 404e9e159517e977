// The reference's blocks on TensorFlow.js.

import { describeTfjs } from "../../helpers/tfjs-engine.js";
import { describeBlocks } from "../conformance/blocks.js";

for (const backend of ["wasm", "node"] as const) {
  await describeTfjs(`tfjs:${backend} blocks`, backend, (engine) => {
    describeBlocks({ engine, precision: "fp32" });
  });
}
