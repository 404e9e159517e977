// The six transforms of the Diverse Branch Block paper, each alone.

import { describe, expect, it } from "@jest/globals";

import {
  type Block,
  type BranchOptions,
  type ConvSpec,
  transformI,
  transformII,
  transformIII,
  transformIV,
  transformV,
  transformVI,
} from "../../src/blocks/index.js";
import { verifyGraph } from "../../src/graph/index.js";
import { blockOf, expectConvolution, outputShape, stateNames } from "../helpers/probe.js";

const OPTIONS: readonly BranchOptions[] = [
  {},
  { useBias: true },
  { useBn: false },
  { useBias: true, useBn: false },
];

interface Case {
  name: string;
  make: (options: BranchOptions) => Block;
  /** Names of the state with batch norm and without bias. */
  names: readonly string[];
  specs: readonly Partial<ConvSpec>[];
}

const GENERAL = [{}, { stride: 2 }, { groups: 2 }, { dilation: 2 }, { kernel: 5 }];

const CASES: readonly Case[] = [
  {
    name: "I: conv-BN",
    make: transformI,
    names: ["dbb_origin.conv.weight", "dbb_origin.bn.*"],
    specs: GENERAL,
  },
  {
    name: "II: a sum of convolutions",
    make: (options) => transformII({ count: 3, ...options }),
    names: [0, 1, 2].flatMap((i) => [`branch${i}.conv.weight`, `branch${i}.bn.*`]),
    specs: [...GENERAL, { padding: 0 }],
  },
  {
    name: "III: 1x1 then KxK",
    make: transformIII,
    names: [
      ...["dbb_1x1_kxk.idconv1.weight", "dbb_1x1_kxk.bn1.bn.*"],
      ...["dbb_1x1_kxk.conv2.weight", "dbb_1x1_kxk.bn2.*"],
    ],
    specs: GENERAL,
  },
  {
    name: "IV: concatenation in depth",
    make: (options) => transformIV({ count: 3, ...options }),
    names: [0, 1, 2].flatMap((i) => [`branch${i}.conv.weight`, `branch${i}.bn.*`]),
    specs: GENERAL.filter((spec) => !("groups" in spec)),
  },
  {
    name: "V: average pooling",
    make: transformV,
    names: ["dbb_avg.conv.weight", "dbb_avg.bn.bn.*", "dbb_avg.avgbn.*"],
    specs: GENERAL,
  },
  {
    name: "VI: kernels of every scale",
    make: transformVI,
    names: ["square1", "square3", "vertical", "horizontal"].flatMap((name) => [
      `${name}.conv.weight`,
      `${name}.bn.*`,
    ]),
    specs: GENERAL,
  },
];

describe.each(CASES)("transform $name", ({ make, names, specs }) => {
  it("has the names of its branches, with bias and without batch norm as chosen", () => {
    for (const options of OPTIONS) {
      const graph = blockOf(make(options), 4, { out: 6, kernel: 3 });
      verifyGraph(graph);
      const expected = names
        .filter((name) => options.useBn !== false || !name.endsWith(".*"))
        .flatMap((name) =>
          options.useBias === true && name.endsWith(".weight")
            ? [name, name.replace(/weight$/, "bias")]
            : [name],
        );
      expect(stateNames(graph)).toEqual(expected);
    }
  });

  it.each(OPTIONS)("is one convolution, at the border too: %j", (options) => {
    for (const spec of specs) expectConvolution(make(options), 4, { out: 6, kernel: 3, ...spec });
  });

  it("has the output size of that convolution", () => {
    for (const structure of ["train", "deploy"] as const) {
      const of = (spec: Partial<ConvSpec>) =>
        outputShape(blockOf(make({}), 4, { out: 6, kernel: 3, ...spec }, { structure }));
      expect(of({})).toEqual([6, 9, 9]);
      expect(of({ stride: 2 })).toEqual([6, 5, 5]);
      expect(of({ dilation: 2 })).toEqual([6, 9, 9]);
      expect(of({ kernel: 5, stride: 2 })).toEqual([6, 5, 5]);
    }
  });
});

describe("depthwise", () => {
  it.each([
    ["I", transformI()],
    ["II", transformII()],
    ["III", transformIII()],
    ["V", transformV()],
    ["VI", transformVI()],
  ])("transform %s is one depthwise convolution", (_name, block) => {
    expectConvolution(block, 4, { out: 4, kernel: 3, groups: 4 });
  });

  it("transform V alone needs no 1x1 convolution", () => {
    const graph = blockOf(transformV({ useBn: false }), 4, { out: 4, kernel: 3, groups: 4 });
    expect(stateNames(graph)).toEqual([]);
    expect(graph.nodes.map(({ op }) => op.kind)).toEqual(["input", "avgPool"]);
  });
});

describe("counts", () => {
  it.each([1, 2, 6])("II of %i and IV of as many build that many convolutions", (count) => {
    for (const block of [transformII({ count }), transformIV({ count })]) {
      const names = stateNames(blockOf(block, 4, { out: 6, kernel: 3 }));
      expect(names).toHaveLength(2 * count);
      expectConvolution(block, 4, { out: 6, kernel: 3 });
    }
  });

  it("VI has every odd kernel up to its own: 7x7 has 1, 3, 5 and 7", () => {
    const names = stateNames(blockOf(transformVI({ useBn: false }), 4, { out: 6, kernel: 7 }));
    expect(names).toEqual(
      ["square1", "square3", "square5", "square7", "vertical", "horizontal"].map(
        (name) => `${name}.conv.weight`,
      ),
    );
  });
});
