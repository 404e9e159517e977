// The conformance suites on the interpreter: they hold for what is right by definition.

import { interpreterEngine } from "../../helpers/interpreter-engine.js";
import { describeBlocks } from "../conformance/blocks.js";

describeBlocks({ engine: interpreterEngine, precision: "fp64", hasGradients: false });
