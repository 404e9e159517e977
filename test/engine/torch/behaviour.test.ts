// How the torch engine behaves.

import { describeTorch } from "../../helpers/torch-engine.js";
import { describeBehaviour } from "../conformance/behaviour.js";

describeTorch("torch behaviour", (engine) => {
  for (const precision of ["fp64", "fp32"] as const) describeBehaviour({ engine, precision });
});
