// Deployed tensors of the reference models, after filling their weights by formula. One model of each
// block family and repository; scripts/check-reference.js runs them all.

import { describe, expect, it } from "@jest/globals";

import { parametersOf } from "../../src/graph/index.js";
import { useNativeSums } from "../../src/linalg/use-native.js";
import { foldGraph, materialise } from "../../src/reparam/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { filledState } from "../helpers/fill.js";
import { readModel } from "../helpers/fixtures.js";
import { statsDifference } from "../helpers/tensor-stats.js";

const models = [
  "dbb__MobileNet__DBB",
  "dbb__ResNet-18__DBB",
  "orepa__RepVGG-A0__base",
  "orepa__RepVGG-A0__DBB",
  "orepa__RepVGG-A0__OREPA",
  "orepa__RepVGG-A0__OREPA_VGG",
  "orepa__ResNeXt-50__OREPA",
  "repvgg__RepVGG-A0__RepVGG",
];

useNativeSums(); // as convert does

describe("deployed tensors of the reference models", () => {
  it.each(models)("%s", (name) => {
    const reference = readModel(name);
    const { graph } = buildModel({ arch: reference.arch, block: reference.block });
    const state = filledState(graph);
    const folded = foldGraph(graph, { outputs: ["logits"] });
    const { parameters, graph: result } = materialise(graph, folded.graph, folded.groups);
    const { tensors } = reference.deploy;
    expect(parametersOf(result).map((op) => op.name)).toEqual(Object.keys(tensors));
    let worst = { tensor: "", difference: 0 };
    for (const { name: tensor, value } of parameters) {
      const difference = statsDifference(value(state), tensors[tensor]!);
      if (!(difference <= worst.difference)) worst = { tensor, difference };
    }
    // The object names the worst tensor where this fails.
    expect({ ...worst, passes: worst.difference < 1e-6 }).toEqual({ ...worst, passes: true });
  });
});
