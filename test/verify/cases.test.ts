// What is run where no weights are given.

import { describe, expect, it } from "@jest/globals";

import { blocks, blockTypes } from "../../src/blocks/index.js";
import { selectCases } from "../../src/verify/index.js";
import { architecture, quickSet } from "../../src/zoo/index.js";
import { failureOf } from "../helpers/failures.js";

const names = (selection: Parameters<typeof selectCases>[0]) =>
  selectCases(selection).map((build) => build().name);

describe("without a selection", () => {
  const all = selectCases({}).map((build) => build());
  const ofBlocks = all.filter(({ kind }) => kind === "block").map(({ name }) => name);

  it("has every block", () => {
    const covered = new Set(ofBlocks.map((name) => name.split(" ")[0]));
    expect([...covered]).toEqual(blocks.map(({ name }) => name));
  });

  it("has every block that a type of the command line can choose", () => {
    const chosen = blockTypes.flatMap((type) => [1, 3, 5, 7].map((size) => type.choose(size).name));
    expect(blocks.map(({ name }) => name)).toEqual(expect.arrayContaining(chosen));
  });

  it.each(["ACB", "DBB", "RepVGG", "OREPA"])(
    "has %s over kernels, strides, groups, depthwise, dilation",
    (block) => {
      for (const kernel of ["3x3", "5x5", "7x7"]) {
        for (const stride of ["", " stride 2"]) {
          for (const rest of ["", " dilation 2", " groups 16"]) {
            expect(ofBlocks).toContain(`${block} ${kernel} 16→16${stride}${rest}`);
          }
          expect(ofBlocks).toContain(`${block} ${kernel} 16→32${stride} groups 4`);
        }
      }
    },
  );

  it("has the quick set with all of its blocks", () => {
    const networks = all.filter(({ kind }) => kind === "network").map(({ name }) => name);
    const expected = quickSet.flatMap((arch) =>
      architecture(arch).blocks.map((block) => `${arch} x ${block}`),
    );
    expect(networks).toEqual(expected);
  });
});

describe("a selection", () => {
  it("of an architecture is its blocks", () => {
    expect(names({ arch: "RepVGG-A0" }).at(0)).toBe("RepVGG-A0 x RepVGG");
    expect(names({ arch: "RepVGG-A0" })).toHaveLength(architecture("RepVGG-A0").blocks.length);
  });

  it("of both is one network, of the quick set or not", () => {
    expect(names({ arch: "ResNet-34", block: "DBB" })).toEqual(["ResNet-34 x DBB"]);
  });

  it("of a block is what the type makes of each kernel, and the networks that have it", () => {
    const found = names({ block: "OREPA_VGG" });
    expect(new Set(found.map((name) => name.split(" ")[0]))).toEqual(
      new Set(["ConvBN", "OREPA_VGG", "ResNet-18", "RepVGG-A0"]),
    );
  });

  it("of what does not exist is refused", async () => {
    expect(await failureOf(() => selectCases({ block: "DDB" }))).toMatchObject({
      ...{ kind: "usage", message: 'unknown block "DDB"; did you mean "DBB"?' },
    });
    expect(
      await failureOf(() => selectCases({ arch: "MobileNet", block: "OREPA_VGG" })),
    ).toMatchObject({ kind: "usage" });
  });
});
