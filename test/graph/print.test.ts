// Graphs as text.

import { describe, expect, it } from "@jest/globals";

import { printGraph, valueName } from "../../src/graph/index.js";
import { everyOpGraph } from "../helpers/every-op.js";
import { graphOf, weight } from "../helpers/graphs.js";

describe("printGraph", () => {
  it("prints activations and weights, plain attributes left out", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([3, 8, 8]);
      const layer = scope.child("conv1");
      const kernel = weight(layer, "weight", [4, 3, 1, 1]);
      const scales = layer.param("scale", [4], {
        init: { kind: "constant", value: 1 },
        decay: "branchScale",
      });
      const scaled = layer.scale(kernel, scales);
      const spread = layer.embed(scaled, { kernel: [3, 3], offset: [1, 1] });
      const y = layer.conv2d(x, spread, undefined, { stride: 2, padding: 1 });
      return { y: scope.relu(scope.builder.labelFold(y, "conv1.reparam")), kernel: spread };
    });
    expect(printGraph(graph)).toMatchInlineSnapshot(`
"a: (3,8,8) = input() mean=(0,0,0) std=(1,1,1)  # input
b: (4,3,1,1) = param() "conv1.weight" param f32 init=constant(0) decay=kernel
c: (4) = param() "conv1.scale" param f32 init=constant(1) decay=branchScale
d: (4,3,1,1) = scale(b, c)  # conv1.scale
e: (4,3,3,3) = embed(d) kernel=3 offset=(1,1)  # conv1.embed
f: (4,4,4) = conv2d(a, e) stride=2 padding=1  # conv1.conv; folds to conv1.reparam
g: (4,4,4) = relu(f)  # relu
return y=g, kernel=e
"
`);
  });

  it("prints every op with all that is not plain about it", () => {
    const lines = printGraph(everyOpGraph()).split("\n");
    const remarks = lines.map((line) => line.replace(/^\w+: /, ""));
    expect(remarks).toEqual(
      expect.arrayContaining([
        "(4,6,6) = input() mean=(0.1,0.2,0.3,0.4) std=(0.5,0.6,0.7,0.8)  # input",
        '(4,2,1,1) = param() "block.first" param f32 init=kaimingUniform(1) decay=kernel',
        "(4,2,1,1) = constant() identity  # block.constant",
        "(6,2,3,3) = composeKernels(d, e) groups=2 correlate  # block.compose",
        '(6,2,1,1) = param() "block.point" param f32 init=uniform(0.5) decay=kernel',
        '(6,3,3) = param() "block.prior" buffer f32 init=frequencyPrior decay=none',
        "(6,2) = reshape(g) (6,2)  # block.reshape",
        "(6,2,3,3) = einsum(i, h) oi,ohw->oihw  # block.einsum",
        '(2,6) = param() "block.vector" param f32 init=rows(1,0.5) decay=branchScale',
        "(6) = select(k) row=1  # block.select",
        "(6,4,5,6) = embed(p) kernel=(5,6) offset=(0,1) dilation=2 groups=2->1  # block.embed",
        '() = param() "block.counter" buffer i64 init=constant(0) decay=none',
        "(6) = inverseStd(u) eps=0.001  # block.inverseStd",
        "(6,6,3) = conv2d(a, z, y) stride=(1,2) padding=(2,2,3,1)  # block.conv",
        "(6,7,4) = batchNorm(aa, r, s, t, u, ab) eps=0.001 momentum=0.2 pad=(1,0,0,1)  # block.bn; folds to block.reparam",
        "(12,3,4) = conv2d(ag, ad) dilation=2 groups=12  # block.conv",
        "(12,3,3) = maxPool(ak) kernel=(3,2) stride=1 padding=(1,1,0,0)  # block.maxpool",
        "(12,3,3) = avgPool(ah) kernel=(3,2) stride=1 padding=(1,1,0,0) count_include_pad=false  # block.avg",
        "(3) = linear(ap, aq)  # head; by conv-bn sum",
        "(3,12) = detach(aq)  # detach",
        "() = einsum(as, aq) oi,oi->  # penalty",
        "return logits=ar, features=ap, penalty=at",
      ]),
    );
  });

  it("does not depend on object identity: building twice prints the same", () => {
    expect(printGraph(everyOpGraph())).toBe(printGraph(everyOpGraph()));
  });

  it("prints an empty graph", () => {
    expect(printGraph({ nodes: [], outputs: [] })).toBe("return \n");
  });
});

describe("valueName", () => {
  it.each([
    [0, "a"],
    [25, "z"],
    [26, "aa"],
    [51, "az"],
    [52, "ba"],
    [701, "zz"],
    [702, "aaa"],
    [18277, "zzz"],
    [18278, "aaaa"],
  ])("of %i is %s", (index, name) => {
    expect(valueName(index)).toBe(name);
  });

  it("never repeats", () => {
    const names = Array.from({ length: 20_000 }, (_, index) => valueName(index));
    expect(new Set(names).size).toBe(20_000);
  });
});
