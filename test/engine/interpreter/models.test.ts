// Networks in float64 on the interpreter: two that are quick, to hold the suite itself to account.

import { useNativeSums } from "../../../src/linalg/use-native.js";
import { interpreterEngine } from "../../helpers/interpreter-engine.js";
import { describeEvaluation } from "../conformance/evaluation.js";

useNativeSums(); // the portable ones are slower, and as exact

describeEvaluation({ engine: interpreterEngine, precision: "fp64" }, [
  "orepa__ResNet-18__OREPA",
  "repvgg__RepVGG-A0__RepVGG",
]);
