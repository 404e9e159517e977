// The block types of the command line, and the block that each chooses for a kernel.

import { describe, expect, it } from "@jest/globals";

import { blockType, blockTypes } from "../../src/blocks/index.js";
import { errorOf } from "../helpers/graphs.js";

describe("block types", () => {
  it("have names of their own", () => {
    const names = blockTypes.map(({ name }) => name);
    expect(names).toEqual(["base", "ACB", "DBB", "RepVGG", "RepVGGplus", "OREPA", "OREPA_VGG"]);
    for (const name of names) expect(blockType(name).name).toBe(name);
  });

  it.each([
    ["base", "ConvBN", "ConvBN", "ConvBN", "ConvBN"],
    ["ACB", "ConvBN", "ACB", "ACB", "ConvBN"],
    ["DBB", "ConvBN", "DBB", "DBB", "ConvBN"],
    ["RepVGG", "ConvBN", "RepVGG", "RepVGG", "ConvBN"],
    ["RepVGGplus", "ConvBN", "RepVGG", "RepVGG", "ConvBN"],
    ["OREPA", "OREPA_1x1", "OREPA", "OREPA", "OREPA_LargeConv"],
    ["OREPA_VGG", "ConvBN", "OREPA_VGG", "OREPA_VGG", "ConvBN"],
  ])("%s is %s for 1x1, %s for 3x3, %s for 5x5 and %s for 7x7", (name, ...chosen) => {
    expect([1, 3, 5, 7].map((kernel) => blockType(name).choose(kernel).name)).toEqual(chosen);
  });

  it.each([
    ["DDB", "DBB"],
    ["dbb", "DBB"],
    ["repvgg", "RepVGG"],
    ["OREPA-VGG", "OREPA_VGG"],
    ["Base", "base"],
  ])("%s is no block; did you mean %s?", (name, near) => {
    expect(errorOf(() => blockType(name))).toEqual({
      kind: "usage",
      message: `unknown block "${name}"; did you mean "${near}"?`,
    });
  });

  it("lists all where nothing is near", () => {
    expect(errorOf(() => blockType("Mixture")).message).toBe(
      'unknown block "Mixture"; choose from base, ACB, DBB, RepVGG, RepVGGplus, OREPA, OREPA_VGG',
    );
  });
});
