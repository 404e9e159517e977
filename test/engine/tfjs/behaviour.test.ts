// How the TensorFlow.js engine behaves.

import { describeTfjs } from "../../helpers/tfjs-engine.js";
import { describeBehaviour } from "../conformance/behaviour.js";

for (const backend of ["wasm", "node"] as const) {
  await describeTfjs(`tfjs:${backend} behaviour`, backend, (engine) => {
    describeBehaviour({ engine, precision: "fp32" });
  });
}
