// Which of the reference's networks are run: a choice that takes minutes, or all of them.

import type { Precision } from "../../../src/engine/types.js";
import { modelNames, readModel } from "../../helpers/fixtures.js";

/** Set to 1 to run every network of the reference. */
export const ALL = process.env["REPKIT_TEST_ALL"] === "1";

/** Every kind of architecture and of block, none of them large. */
const EVALUATED = [
  "dbb__MobileNet__DBB",
  "dbb__ResNet-18__DBB",
  "dbb__ResNet-18__base",
  "orepa__RepVGG-A0__OREPA_VGG",
  "orepa__ResNeXt-50__OREPA",
  "orepa__ResNet-18__OREPA",
  "orepa__ResNet-50__DBB",
  "repvgg__RepVGG-A0__RepVGG",
  "repvgg__RepVGG-B1g4__RepVGG",
  "repvgg__RepVGGplus-L2pse__RepVGGplus",
];

const TRAINED = [
  "dbb__MobileNet__DBB",
  "dbb__ResNet-18__DBB",
  "dbb__ResNet-18__base",
  "orepa__ResNet-18__OREPA",
  "repvgg__RepVGG-A0__RepVGG",
];

/** Five steps of SGD take their time, in less than fp64 twice: as many in fp64 lead them. */
const STEPPED = ["dbb__MobileNet__DBB", "orepa__ResNet-18__OREPA", "repvgg__RepVGG-A0__RepVGG"];
const STEPPED_COARSELY = ["dbb__MobileNet__DBB", "repvgg__RepVGG-A0__RepVGG"];

export function evaluatedModels(): readonly string[] {
  return ALL ? modelNames() : EVALUATED;
}

export function isStepped(name: string, precision: Precision): boolean {
  return ALL || (precision === "fp64" ? STEPPED : STEPPED_COARSELY).includes(name);
}

/** Those that the reference has trained. */
export function trainedModels(): readonly string[] {
  return ALL ? modelNames().filter((name) => readModel(name).train !== undefined) : TRAINED;
}
