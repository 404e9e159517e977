// How the torch engine behaves.

import { describeTorchDevices } from "../../helpers/torch-engine.js";
import { describeBehaviour } from "../conformance/behaviour.js";

describeTorchDevices("torch behaviour", (engine, device) => {
  for (const precision of ["fp64", "fp32"] as const)
    describeBehaviour({ engine, device, precision });
});
