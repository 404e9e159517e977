// The registry: names, pairs, limits, and what one is told when they are missed.

import { describe, expect, it } from "@jest/globals";

import { blockTypes } from "../../src/blocks/index.js";
import { type Graph, parametersOf } from "../../src/graph/index.js";
import {
  architecture,
  architectures,
  buildModel,
  IMAGENET_MEAN,
  IMAGENET_STD,
  MAX_CLASSES,
  MAX_IMAGE_SIZE,
} from "../../src/zoo/index.js";
import { errorOf } from "../helpers/graphs.js";

const NAMES = [
  ...["ResNet-18", "ResNet-34", "ResNet-50", "ResNet-101", "ResNet-18-1.5x", "ResNet-18-2x"],
  ...["ResNeXt-50", "MobileNet"],
  ...["RepVGG-A0", "RepVGG-A1", "RepVGG-A2", "RepVGG-B0"],
  ...["RepVGG-B1", "RepVGG-B1g2", "RepVGG-B1g4", "RepVGG-B2", "RepVGG-B2g2", "RepVGG-B2g4"],
  ...["RepVGG-B3", "RepVGG-B3g2", "RepVGG-B3g4", "RepVGG-D2se", "RepVGGplus-L2pse"],
];

const inputOf = ({ nodes }: Graph) => nodes.find(({ op }) => op.kind === "input")!;
const shapeOf = ({ nodes, outputs }: Graph, name: string) =>
  nodes[outputs.find((output) => output.name === name)!.value]!.type.shape;

describe("architectures", () => {
  it("are the 23 that one expects, each once", () => {
    expect(architectures.map(({ name }) => name)).toEqual(NAMES);
    for (const name of NAMES) expect(architecture(name).name).toBe(name);
  });

  it.each(architectures.map(({ name, blocks }) => [name, blocks] as const))(
    "%s lists known block types, each once, `base` among them",
    (_name, blocks) => {
      const known = blockTypes.map(({ name }) => name);
      expect(blocks.filter((block) => !known.includes(block))).toEqual([]);
      expect(new Set(blocks).size).toBe(blocks.length);
      expect(blocks).toContain("base");
    },
  );

  it.each([
    ["ResNet-18", "base"],
    ["MobileNet", "base"],
    ["RepVGG-A0", "RepVGG"],
    ["RepVGG-B3g4", "RepVGG"],
    ["RepVGGplus-L2pse", "RepVGGplus"],
  ])("%s is %s unless one says otherwise", (name, block) => {
    expect(architecture(name).blocks[0]).toBe(block);
  });
});

describe("a model", () => {
  it("has what one asked for, and ImageNet's sizes otherwise", () => {
    const plain = buildModel({ arch: "ResNet-18", block: "DBB" });
    expect(plain).toMatchObject({
      arch: "ResNet-18",
      block: "DBB",
      structure: "train",
      numClasses: 1000,
      imageSize: 224,
    });
    expect(inputOf(plain.graph).op).toEqual({
      kind: "input",
      shape: [3, 224, 224],
      mean: IMAGENET_MEAN,
      std: IMAGENET_STD,
    });
    expect(IMAGENET_MEAN).toEqual([0.485, 0.456, 0.406]);
    expect(IMAGENET_STD).toEqual([0.229, 0.224, 0.225]);
    expect(shapeOf(plain.graph, "logits")).toEqual([1000]);
  });

  it.each([
    [1, 1],
    [10, 32],
    [7, 97],
    [21_841, 224],
  ])("of %i classes on %i pixels", (numClasses, imageSize) => {
    for (const structure of ["train", "deploy"] as const) {
      const options = { arch: "RepVGG-A0", block: "OREPA_VGG", structure, numClasses, imageSize };
      const { graph } = buildModel(options);
      expect(inputOf(graph).type.shape).toEqual([3, imageSize, imageSize]);
      expect(shapeOf(graph, "logits")).toEqual([numClasses]);
      const state = new Map(parametersOf(graph).map(({ name, shape }) => [name, shape]));
      expect(state.get("linear.weight")).toEqual([numClasses, 1280]);
      expect(state.get("linear.bias")).toEqual([numClasses]);
    }
  });

  it("the image size changes no parameter", () => {
    const state = (imageSize: number) =>
      parametersOf(buildModel({ arch: "ResNeXt-50", block: "DBB", imageSize }).graph);
    expect(state(33)).toEqual(state(224));
  });

  it("RepVGGplus has auxiliary heads while it trains, for its classes, and none deployed", () => {
    const model = (structure: "train" | "deploy") =>
      buildModel({ arch: "RepVGGplus-L2pse", block: "RepVGGplus", structure, numClasses: 5 }).graph;
    const heads = ["stage1_aux", "stage2_aux", "stage3_first_aux"];
    expect(model("train").outputs.map(({ name }) => name)).toEqual(["logits", ...heads]);
    for (const name of ["logits", ...heads]) expect(shapeOf(model("train"), name)).toEqual([5]);
    expect(model("deploy").outputs.map(({ name }) => name)).toEqual(["logits"]);
    const deployed = parametersOf(model("deploy")).map(({ name }) => name);
    expect(deployed.filter((name) => name.includes("_aux"))).toEqual([]);
  });
});

describe("one line names the nearest valid choice", () => {
  const message = (options: object) =>
    errorOf(() => buildModel({ arch: "ResNet-18", block: "DBB", ...options })).message;

  it.each([
    ["ResNet18", 'unknown architecture "ResNet18"; did you mean "ResNet-18"?'],
    ["resnet-50", 'unknown architecture "resnet-50"; did you mean "ResNet-50"?'],
    ["ResNext50", 'unknown architecture "ResNext50"; did you mean "ResNeXt-50"?'],
    ["RepVGG-B1g3", 'unknown architecture "RepVGG-B1g3"; did you mean "RepVGG-B1g2"?'],
    ["RepVGGplus", 'unknown architecture "RepVGGplus"; did you mean "RepVGGplus-L2pse"?'],
    ["mobilenet_v1", 'unknown architecture "mobilenet_v1"; did you mean "MobileNet"?'],
    ["EfficientNetV2", `unknown architecture "EfficientNetV2"; choose from ${NAMES.join(", ")}`],
    ["", `unknown architecture ""; choose from ${NAMES.join(", ")}`],
  ])("architecture %j", (arch, expected) => {
    expect(message({ arch })).toBe(expected);
  });

  it("block", () => {
    expect(message({ block: "DDB" })).toBe('unknown block "DDB"; did you mean "DBB"?');
  });

  it.each([
    ["RepVGG-B1g2", "OREPA_VGG", "OREPA", "RepVGG, base, ACB, DBB, OREPA"],
    ["ResNeXt-50", "OREPA_VGG", "OREPA", "base, ACB, DBB, RepVGG, OREPA"],
    ["ResNet-18", "RepVGGplus", "RepVGG", "base, ACB, DBB, RepVGG, OREPA, OREPA_VGG"],
    ["RepVGGplus-L2pse", "RepVGG", "RepVGGplus", "RepVGGplus, base, ACB, DBB, OREPA, OREPA_VGG"],
  ])("pair %s x %s", (arch, block, nearest, all) => {
    expect(errorOf(() => buildModel({ arch, block }))).toEqual({
      kind: "usage",
      message: `${arch} has no block ${block}; nearest valid: ${nearest} (of ${all})`,
    });
  });

  it.each([
    [0, 1, "0"],
    [-3, 1, "-3"],
    [0.2, 1, "0.2"],
    [9.6, 10, "9.6"],
    [NaN, 1, "NaN"],
    [-Infinity, 1, "-Infinity"],
    [Infinity, MAX_CLASSES, "Infinity"],
    [MAX_CLASSES + 1, MAX_CLASSES, String(MAX_CLASSES + 1)],
    [2 ** 60, MAX_CLASSES, String(2 ** 60)],
  ])("%d classes: nearest is %i", (numClasses, nearest, shown) => {
    expect(errorOf(() => buildModel({ arch: "ResNet-18", block: "DBB", numClasses }))).toEqual({
      kind: "usage",
      message: `number of classes: expected a whole number from 1 to ${MAX_CLASSES} (nearest valid: ${nearest}), received ${shown}`,
    });
  });

  it.each([
    [0, 1],
    [-224, 1],
    [223.5, 224],
    [MAX_IMAGE_SIZE + 1, MAX_IMAGE_SIZE],
    [Infinity, MAX_IMAGE_SIZE],
  ])("%d pixels: nearest is %i", (imageSize, nearest) => {
    expect(errorOf(() => buildModel({ arch: "ResNet-18", block: "DBB", imageSize }))).toEqual({
      kind: "usage",
      message: `image size: expected a whole number from 1 to ${MAX_IMAGE_SIZE} (nearest valid: ${nearest}), received ${imageSize}`,
    });
  });
});
