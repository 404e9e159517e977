// The reference's networks in evaluation on tfjs-node.

import { describeTfjs } from "../../../helpers/tfjs-engine.js";
import { describeEvaluation } from "../../conformance/evaluation.js";
import { ALL, evaluatedModels } from "../../conformance/selection.js";

/** Depthwise, grouped, kernels as expressions, average pooling: each kind of layer. */
const QUICK = [
  "dbb__MobileNet__DBB",
  "orepa__ResNet-18__OREPA",
  "orepa__ResNet-50__DBB",
  "repvgg__RepVGG-A0__RepVGG",
  "repvgg__RepVGG-B1g4__RepVGG",
];

await describeTfjs("tfjs:node evaluation", "node", (engine) => {
  describeEvaluation({ engine, precision: "fp32" }, ALL ? evaluatedModels() : QUICK);
});
