// A graph that someone wrote by hand, or broke.

import { describe, expect, it } from "@jest/globals";

import { type Graph, type Node, verifyGraph } from "../../src/graph/index.js";
import { everyOpGraph } from "../helpers/every-op.js";
import { graphOf, mismatchOf, weight } from "../helpers/graphs.js";

/** input, weight, bias, conv, relu */
const graph = graphOf((scope) => {
  const x = scope.input([3, 8, 8]);
  const layer = scope.child("stage1").child("conv");
  const kernel = weight(layer, "weight", [4, 3, 3, 3]);
  const bias = weight(layer, "bias", [4]);
  return layer.relu(layer.conv2d(x, kernel, bias));
});

/** The graph with one node changed. */
const withNode = (id: number, change: Partial<Node>): Graph => ({
  ...graph,
  nodes: graph.nodes.map((node) => (node.id === id ? { ...node, ...change } : node)),
});

const CONV = { node: "stage1.conv.conv", op: "conv2d" };

describe("verifyGraph", () => {
  it("accepts what a builder makes", () => {
    verifyGraph(graph);
    verifyGraph(everyOpGraph());
  });

  it.each([
    [
      "an id that is not its position",
      withNode(3, { id: 7 }),
      { ...CONV, what: "id", expected: "3, its position", found: "7" },
    ],
    [
      "an input that comes later",
      withNode(3, { inputs: [0, 4, 2] }),
      { ...CONV, what: "input", expected: "a node before 3", found: "4" },
    ],
    [
      "a node that is its own input",
      withNode(3, { inputs: [3, 1, 2] }),
      { ...CONV, what: "input", expected: "a node before 3", found: "3" },
    ],
    [
      "an input that does not exist",
      withNode(4, { inputs: [99] }),
      {
        node: "stage1.conv.relu",
        op: "relu",
        what: "input",
        expected: "a node before 4",
        found: "99",
      },
    ],
    [
      "a negative input",
      withNode(3, { inputs: [-1, 1, 2] }),
      { ...CONV, what: "input", expected: "a node before 3", found: "-1" },
    ],
    [
      "a NaN input",
      withNode(3, { inputs: [NaN, 1, 2] }),
      { ...CONV, what: "input", expected: "a node before 3", found: "NaN" },
    ],
    [
      "too few inputs",
      withNode(3, { inputs: [0] }),
      { ...CONV, what: "inputs", expected: "2 to 3", found: "1" },
    ],
    [
      "inputs in the wrong order",
      withNode(3, { inputs: [0, 2, 1] }),
      { ...CONV, what: "weight", expected: "a kernel (O,I,H,W)", found: "(4)" },
    ],
    [
      "another shape than the op makes",
      withNode(3, { type: { world: "activation", shape: [4, 8, 8] } }),
      { ...CONV, what: "type", expected: "activation (4,6,6)", found: "activation (4,8,8)" },
    ],
    [
      "another world than the op's",
      withNode(3, { type: { world: "weight", shape: [4, 6, 6] } }),
      { ...CONV, what: "type", expected: "activation (4,6,6)", found: "weight (4,6,6)" },
    ],
    [
      "an attribute that the op refuses",
      withNode(3, {
        op: { kind: "conv2d", stride: [1, 0], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 },
      }),
      { ...CONV, what: "stride", expected: "a whole number from 1", found: "0" },
    ],
    [
      "two parameters of one name",
      withNode(2, { op: { ...graph.nodes[2]!.op, name: "stage1.conv.weight" } as Node["op"] }),
      {
        node: "stage1.conv.bias",
        op: "param",
        what: "name",
        expected: "one parameter of each name",
        found: 'a second "stage1.conv.weight"',
      },
    ],
  ])("refuses %s", (_name, broken, mismatch) => {
    expect(mismatchOf(() => verifyGraph(broken))).toEqual(mismatch);
  });

  it.each([
    ["no output", [], "at least one", "none"],
    ["an output beyond the nodes", [{ name: "y", value: 5 }], '"y" to be one of 5 nodes', "5"],
    ["a negative output", [{ name: "y", value: -1 }], '"y" to be one of 5 nodes', "-1"],
    ["a fractional output", [{ name: "y", value: 0.5 }], '"y" to be one of 5 nodes', "0.5"],
    [
      "two outputs of one name",
      [
        { name: "y", value: 4 },
        { name: "y", value: 3 },
      ],
      "one output of each name",
      'a second "y"',
    ],
  ])("refuses %s", (_name, outputs, expected, found) => {
    expect(mismatchOf(() => verifyGraph({ ...graph, outputs }))).toEqual({
      node: "",
      op: "graph",
      what: "outputs",
      expected,
      found,
    });
  });

  it("says everything in one line", () => {
    const broken = withNode(3, { inputs: [0, 2, 1] });
    expect(() => {
      verifyGraph(broken);
    }).toThrow("stage1.conv.conv: conv2d: weight: expected a kernel (O,I,H,W), found (4)");
  });

  it("accepts an empty graph no more than one without outputs", () => {
    expect(mismatchOf(() => verifyGraph({ nodes: [], outputs: [] }))).toMatchObject({
      what: "outputs",
    });
  });
});
