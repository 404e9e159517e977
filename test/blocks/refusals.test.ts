// What a block cannot stand for is refused when it is built, in one line and in both structures.

import { describe, expect, it } from "@jest/globals";

import {
  acbBlock,
  type Block,
  buildBlock,
  type ConvSpec,
  convBnBlock,
  convSpec,
  dbbBlock,
  orepa1x1Block,
  orepaBlock,
  orepaLargeBaseBlock,
  orepaLargeBlock,
  orepaVggBlock,
  repVggBlock,
  transformII,
  transformIV,
  transformVI,
} from "../../src/blocks/index.js";
import { GraphBuilder } from "../../src/graph/index.js";
import { errorOf } from "../helpers/graphs.js";
import { blockOf, outputShape } from "../helpers/probe.js";

describe("refusals", () => {
  const odd = "expected an odd kernel";
  const divide = "expected groups that divide inputs and outputs";
  const rows: readonly (readonly [
    block: Block,
    inputs: number,
    spec: Partial<ConvSpec>,
    message: string,
  ])[] = [
    // Reference: an even kernel fails at the first forward pass with a tensor size.
    ...[acbBlock(), dbbBlock(), repVggBlock, orepaBlock(), orepaVggBlock].flatMap((block) =>
      [2, 4].map((kernel) => {
        const message = `${block.name}: ${odd}, received "${kernel}x${kernel} 8→12"`;
        return [block, 8, { kernel }, message] as const;
      }),
    ),
    [
      dbbBlock(),
      8,
      { padding: 0 },
      'DBB: expected padding 1 (dilation * (kernel >> 1)), received "3x3 8→12 padding 0"',
    ],
    [
      dbbBlock(),
      8,
      { dilation: 2, padding: 1 },
      'DBB: expected padding 2 (dilation * (kernel >> 1)), received "3x3 8→12 padding 1 dilation 2"',
    ],
    [
      repVggBlock,
      8,
      { padding: 2 },
      'RepVGG: expected padding 1 (dilation * (kernel >> 1)), received "3x3 8→12 padding 2"',
    ],
    [
      orepaVggBlock,
      8,
      { padding: 2 },
      'OREPA_VGG: expected padding 1 (dilation * (kernel >> 1)), received "3x3 8→12 padding 2"',
    ],
    [orepaVggBlock, 8, { groups: 2 }, 'OREPA_VGG: expected groups 1, received "3x3 8→12 groups 2"'],
    [orepa1x1Block(), 8, { kernel: 3 }, 'OREPA_1x1: expected a 1x1 kernel, received "3x3 8→12"'],
    [
      orepa1x1Block(),
      8,
      { kernel: 1, groups: 2 },
      'OREPA_1x1: expected groups 1, received "1x1 8→12 groups 2"',
    ],
    ...[orepaLargeBlock, orepaLargeBaseBlock].flatMap((block) =>
      [3, 6].map((kernel) => {
        const expected = "expected an odd kernel larger than 3";
        const padding = kernel >> 1;
        const message = `${block.name}: ${expected}, received "${kernel}x${kernel} 8→12"`;
        return [block, 8, { kernel, padding }, message] as const;
      }),
    ),
    [
      orepaBlock({ innerChannels: 9 }),
      8,
      { groups: 2 },
      'OREPA: expected innerChannels a multiple of groups (=2), not 9, received "3x3 8→12 groups 2"',
    ],
    [
      orepaBlock({ innerChannels: 0 }),
      8,
      {},
      'OREPA: expected innerChannels a multiple of groups (=1), not 0, received "3x3 8→12"',
    ],
    [
      dbbBlock({ innerChannels: 9 }),
      8,
      { groups: 2 },
      'DBB: expected innerChannels a multiple of groups (=2), not 9, received "3x3 8→12 groups 2"',
    ],
    [
      dbbBlock({ innerChannels: 0 }),
      8,
      {},
      'DBB: expected innerChannels a multiple of groups (=1), not 0, received "3x3 8→12"',
    ],
    [
      dbbBlock({ innerChannels: NaN }),
      8,
      {},
      'DBB: expected innerChannels a multiple of groups (=1), not NaN, received "3x3 8→12"',
    ],
    ...[0, -2, 1.5, NaN].flatMap((count) =>
      [transformII({ count }), transformIV({ count })].map((block) => {
        const message = `${block.name}: expected count a whole number from 1, received "3x3 8→12"`;
        return [block, 8, {}, message] as const;
      }),
    ),
    [
      transformIV({ count: 5 }),
      8,
      {},
      'TransformIV: expected outputs a multiple of 5, received "3x3 8→12"',
    ],
    [
      transformIV(),
      8,
      { groups: 2 },
      'TransformIV: expected groups 1, received "3x3 8→12 groups 2"',
    ],
    [
      transformVI(),
      8,
      { padding: 0 },
      'TransformVI: expected padding 1 (dilation * (kernel >> 1)), received "3x3 8→12 padding 0"',
    ],
    [transformVI(), 8, { kernel: 2 }, 'TransformVI: expected an odd kernel, received "2x2 8→12"'],
    [dbbBlock({ branches: [] }), 8, {}, 'DBB: expected at least one branch, received "3x3 8→12"'],
    [
      dbbBlock({ branches: ["1x1"] }),
      8,
      { out: 8, groups: 8 },
      'DBB: expected another branch than 1x1, which a depthwise block leaves out, received "3x3 8→8 groups 8"',
    ],
    [
      dbbBlock(),
      8,
      { out: 4, groups: 4 },
      'DBB: expected as many inputs as outputs where groups equal the outputs (the average has no 1x1), received "3x3 8→4 groups 4"',
    ],
    ...[convBnBlock, acbBlock(), dbbBlock()].flatMap((block) => [
      [block, 8, { groups: 3 }, `${block.name}: ${divide}, received "3x3 8→12 groups 3"`] as const,
      [block, 9, { groups: 2 }, `${block.name}: ${divide}, received "3x3 9→12 groups 2"`] as const,
      [
        block,
        8,
        { groups: 0 },
        `${block.name}: expected groups a whole number from 1, received "3x3 8→12 groups 0"`,
      ] as const,
      [
        block,
        8,
        { out: 0 },
        `${block.name}: expected out a whole number from 1, received "3x3 8→0"`,
      ] as const,
      [
        block,
        8,
        { out: 2.5 },
        `${block.name}: expected out a whole number from 1, received "3x3 8→2.5"`,
      ] as const,
      [
        block,
        8,
        { stride: NaN },
        `${block.name}: expected stride a whole number from 1, received "3x3 8→12 stride NaN"`,
      ] as const,
      [
        block,
        8,
        { dilation: -1, padding: 1 },
        `${block.name}: expected dilation a whole number from 1, received "3x3 8→12 padding 1 dilation -1"`,
      ] as const,
      [
        block,
        8,
        { padding: -1 },
        `${block.name}: expected padding a whole number from 0, received "3x3 8→12 padding -1"`,
      ] as const,
    ]),
  ];

  it.each(rows.map(([block, inputs, spec, message]) => [message, block, inputs, spec] as const))(
    "%s",
    (message, block, inputs, spec) => {
      for (const structure of ["train", "deploy"] as const) {
        expect(
          errorOf(() => blockOf(block, inputs, { out: 12, kernel: 3, ...spec }, { structure })),
        ).toEqual({ kind: "usage", message });
      }
    },
  );

  it("name the scope", () => {
    const scope = new GraphBuilder().root();
    const x = scope.input([8, 8, 8]);
    const spec = convSpec({ out: 12, kernel: 4 });
    const build = () =>
      buildBlock(acbBlock(), scope.child("stage1").child("0"), x, spec, { structure: "train" });
    expect(errorOf(build).message).toBe(
      'stage1.0: ACB: expected an odd kernel, received "4x4 8→12"',
    );
  });

  it("a plain convolution takes an even kernel", () => {
    expect(outputShape(blockOf(convBnBlock, 8, { out: 12, kernel: 4, padding: 1 }))).toEqual([
      ...[12, 8, 8],
    ]);
  });
});
