// Did you mean.

import { describe, expect, it } from "@jest/globals";

import { suggest, unknownName } from "../../src/util/suggest.js";

const BLOCKS = ["base", "ACB", "DBB", "RepVGG", "RepVGGplus", "OREPA", "OREPA_VGG"];
const ARCHITECTURES = ["ResNet-18", "ResNet-50", "ResNet-101", "MobileNet", "RepVGG-A0"];

describe("suggest", () => {
  it.each([
    ["an exact name", "DBB", "DBB"],
    ["another case", "dbb", "DBB"],
    ["separators of another kind, or none", "orepa-vgg", "OREPA_VGG"],
    ["separators as spaces", "orepa vgg", "OREPA_VGG"],
    ["a letter replaced", "DBC", "DBB"],
    ["a letter missing", "RepVG", "RepVGG"],
    ["a letter too many", "OREPAA", "OREPA"],
    ["two neighbours swapped", "RpeVGG", "RepVGG"],
    ["the swap of a short name", "ABC", "ACB"],
    ["a missing ending", "RepVGGpl", "RepVGG"],
    ["nothing near", "transformer", undefined],
    ["no letter", "", undefined],
  ])("%s: %j → %j", (_name, word, expected) => {
    expect(suggest(word, BLOCKS)).toBe(expected);
  });

  it.each([
    ["ResNet18", "ResNet-18"],
    ["resnet_50", "ResNet-50"],
    ["ResNet-81", "ResNet-18"],
    ["ResNet-1", "ResNet-18"],
    ["ResNet-11", "ResNet-18"],
    ["MobileNetV1", "MobileNet"],
    ["mobilenet", "MobileNet"],
    ["RepVGG", "RepVGG-A0"],
    ["VGG-16", undefined],
  ])("architecture %s → %s", (word, expected) => {
    expect(suggest(word, ARCHITECTURES)).toBe(expected);
  });

  it("prefers a name that differs by its ending to one that differs within", () => {
    expect(suggest("RepVGG", ["OREPA_VGG", "RepVGGplus"])).toBe("RepVGGplus");
    expect(suggest("RepVGGplus", ["base", "RepVGG"])).toBe("RepVGG");
    expect(suggest("OREPA_VGG", ["RepVGG", "OREPA"])).toBe("OREPA");
    // But not to one that differs by a single letter.
    expect(suggest("RepVGG-B1g3", ["RepVGG-B1", "RepVGG-B1g2"])).toBe("RepVGG-B1g2");
  });

  it("takes the first of equally near ones, and knows none among none", () => {
    expect(suggest("ab", ["ax", "ay"])).toBe("ax");
    expect(suggest("ab", [])).toBeUndefined();
  });

  it("counts a swap once: within two edits of a short name", () => {
    // badc is two swaps from abcd; without swaps it would be three edits away.
    expect(suggest("badc", ["abcd"])).toBe("abcd");
    expect(suggest("dcba", ["abcd"])).toBeUndefined();
  });
});

describe("unknownName", () => {
  it("asks for the nearest, or lists all", () => {
    expect(unknownName("block", "DDB", BLOCKS)).toBe('unknown block "DDB"; did you mean "DBB"?');
    expect(unknownName("mode", "evaluation", ["train", "deploy"])).toBe(
      'unknown mode "evaluation"; choose from train, deploy',
    );
  });
});
