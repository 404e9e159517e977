// What blocks share: specifications, and both structures from one definition.

import { describe, expect, it } from "@jest/globals";

import {
  acbBlock,
  type Block,
  buildBlock,
  convBnBlock,
  convSpec,
  dbbBlock,
  formatSpec,
  orepa1x1Block,
  orepaBlock,
  orepaLargeBaseBlock,
  orepaLargeBlock,
  orepaVggBlock,
  repVggBlock,
  samePadding,
} from "../../src/blocks/index.js";
import { GraphBuilder, verifyGraph } from "../../src/graph/index.js";
import { blockOf, outputShape, stateNames } from "../helpers/probe.js";

const BLOCKS: readonly Block[] = [
  convBnBlock,
  acbBlock(),
  dbbBlock(),
  repVggBlock,
  orepaBlock(),
  orepa1x1Block(),
  orepaLargeBlock,
  orepaLargeBaseBlock,
  orepaVggBlock,
];

describe("convSpec", () => {
  it("pads to keep the size, and leaves plain what is not given", () => {
    const plain = { stride: 1, dilation: 1, groups: 1 };
    expect(convSpec({ out: 8, kernel: 3 })).toEqual({ out: 8, kernel: 3, padding: 1, ...plain });
    expect(convSpec({ out: 8, kernel: 1 }).padding).toBe(0);
    expect(convSpec({ out: 8, kernel: 5, dilation: 3 }).padding).toBe(6);
    expect(convSpec({ out: 8, kernel: 3, padding: 0 }).padding).toBe(0);
  });

  it("samePadding is dilation * (kernel >> 1)", () => {
    expect([1, 2, 3, 7].map((kernel) => samePadding(kernel))).toEqual([0, 1, 1, 3]);
    expect(samePadding(5, 2)).toBe(4);
  });

  it.each([
    [{ out: 8, kernel: 3 }, "3x3 4→8"],
    [{ out: 8, kernel: 3, stride: 2 }, "3x3 4→8 stride 2"],
    [{ out: 8, kernel: 3, padding: 0 }, "3x3 4→8 padding 0"],
    [{ out: 8, kernel: 3, dilation: 2 }, "3x3 4→8 dilation 2"],
    [{ out: 8, kernel: 5, groups: 4, stride: 2 }, "5x5 4→8 stride 2 groups 4"],
  ])("%j prints as %s", (spec, text) => {
    expect(formatSpec(convSpec(spec), 4)).toBe(text);
  });
});

describe("every block", () => {
  it.each(BLOCKS.map((block) => [block.name, block] as const))(
    "%s deploys as one convolution with a bias, of the same output size",
    (name, block) => {
      const kernel = name.startsWith("OREPA_Large") ? 7 : name === "OREPA_1x1" ? 1 : 3;
      for (const stride of [1, 2]) {
        const train = blockOf(block, 8, { out: 12, kernel, stride });
        const deploy = blockOf(block, 8, { out: 12, kernel, stride }, { structure: "deploy" });
        verifyGraph(train);
        verifyGraph(deploy);
        expect(stateNames(deploy)).toEqual([
          `${block.deployName}.weight`,
          `${block.deployName}.bias`,
        ]);
        expect(deploy.nodes.map(({ op }) => op.kind)).toEqual([
          "input",
          "param",
          "param",
          "conv2d",
        ]);
        expect(outputShape(train)).toEqual([12, stride === 1 ? 9 : 5, stride === 1 ? 9 : 5]);
        expect(outputShape(deploy)).toEqual(outputShape(train));
        // What the convolution may replace is the value before the activation.
        expect(train.nodes.filter(({ foldName }) => foldName === block.deployName)).toHaveLength(1);
      }
    },
  );

  it("names its parameters under the scope that it is built in", () => {
    const builder = new GraphBuilder();
    const scope = builder.root().child("stage1").child("0");
    const x = builder.root().input([4, 8, 8]);
    const y = buildBlock(convBnBlock, scope, x, convSpec({ out: 4, kernel: 3 }), {
      structure: "train",
      activation: "relu",
    });
    expect(stateNames(builder.build({ y }))).toEqual(["stage1.0.conv.weight", "stage1.0.bn.*"]);
    expect(y.name).toBe("stage1.0.nonlinear");
  });
});
