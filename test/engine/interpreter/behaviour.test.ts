// Inputs, losses and refusals on the interpreter, which has no gradients.

import { interpreterEngine } from "../../helpers/interpreter-engine.js";
import { describeBehaviour } from "../conformance/behaviour.js";

describeBehaviour({ engine: interpreterEngine, precision: "fp64", hasGradients: false });
