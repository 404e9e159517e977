// The reference's networks in evaluation on tfjs-node.

import { describeTfjs } from "../../../helpers/tfjs-engine.js";
import { describeEvaluation } from "../../conformance/evaluation.js";

await describeTfjs("tfjs:node evaluation", "node", (engine) => {
  describeEvaluation({ engine, precision: "fp32" });
});
