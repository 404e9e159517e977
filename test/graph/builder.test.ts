// Scopes name things, parameters keep their order, and a builder takes only what is its own.

import { describe, expect, it } from "@jest/globals";

import { GraphBuilder, parametersOf, toPadding, verifyGraph } from "../../src/graph/index.js";
import { everyOpGraph } from "../helpers/every-op.js";
import { graphOf, mismatchOf, weight } from "../helpers/graphs.js";

const zero = { init: { kind: "constant", value: 0 }, decay: "kernel" } as const;

describe("scopes", () => {
  it("prefix the names of parameters and nodes", () => {
    const builder = new GraphBuilder();
    const root = builder.root();
    const layer = root.child("stage1").child("0");
    expect([root.path, layer.path]).toEqual(["", "stage1.0"]);
    expect([root.join("x"), layer.join("x")]).toEqual(["x", "stage1.0.x"]);
    const x = root.input([2, 4, 4]);
    const kernel = layer.param("conv.weight", [2, 2, 1, 1], zero);
    const y = layer.conv2d(x, kernel, undefined);
    expect([x.name, kernel.name, y.name]).toEqual([
      "input",
      "stage1.0.conv.weight",
      "stage1.0.conv",
    ]);
    expect(kernel.op).toMatchObject({ name: "stage1.0.conv.weight" });
    expect(layer.relu(y, "nonlinear").name).toBe("stage1.0.nonlinear");
  });

  it("give equal node names twice, but a parameter's only once", () => {
    const scope = new GraphBuilder().root().child("layer");
    const first = weight(scope, "weight", [2, 3]);
    expect([scope.select(first, 0).name, scope.select(first, 1).name]).toEqual([
      "layer.select",
      "layer.select",
    ]);
    expect(mismatchOf(() => weight(scope, "weight", [2, 3]))).toEqual({
      node: "layer.weight",
      op: "param",
      what: "name",
      expected: "one parameter of each name",
      found: 'a second "layer.weight"',
    });
    // The same last name elsewhere is another name.
    expect(weight(scope.child("inner"), "weight", [1]).name).toBe("layer.inner.weight");
  });
});

describe("parameters", () => {
  it("stand in the order of their declaration, used or not, before their use or after", () => {
    const graph = graphOf((scope) => {
      const late = weight(scope, "z", [2]);
      weight(scope, "unused", [1]);
      const x = scope.input([2, 1, 1]);
      const kernel = weight(scope, "b", [2, 2, 1, 1]);
      scope.counter("a");
      return scope.conv2d(x, kernel, late);
    });
    expect(parametersOf(graph).map(({ name }) => name)).toEqual(["z", "unused", "b", "a"]);
  });

  it("are trained, buffers and counters are not", () => {
    const scope = new GraphBuilder().root();
    const one = { kind: "constant", value: 1 } as const;
    expect(scope.param("p", [2], { init: one, decay: "norm" }).op).toEqual({
      kind: "param",
      name: "p",
      shape: [2],
      role: "param",
      dtype: "f32",
      init: one,
      decay: "norm",
    });
    expect(scope.buffer("b", [2], one).op).toMatchObject({
      role: "buffer",
      dtype: "f32",
      init: one,
      decay: "none",
    });
    expect(scope.counter("c").op).toMatchObject({
      role: "buffer",
      dtype: "i64",
      shape: [],
      init: { kind: "constant", value: 0 },
      decay: "none",
    });
  });
});

describe("values of another graph are refused", () => {
  const foreign = () => new GraphBuilder().root().child("other").input([2, 4, 4]);
  const mismatch = { expected: "values of this graph", found: '"other.input" of another' };

  it("as inputs, even where a node has the same id", () => {
    const scope = new GraphBuilder().root().child("block");
    scope.input([2, 4, 4]);
    expect(mismatchOf(() => scope.relu(foreign()))).toEqual({
      node: "block.relu",
      op: "relu",
      what: "inputs",
      ...mismatch,
    });
  });

  it("as outputs", () => {
    const builder = new GraphBuilder();
    const x = builder.root().input([2, 4, 4]);
    expect(mismatchOf(() => builder.build({ x, y: foreign() }))).toEqual({
      node: "y",
      op: "graph",
      what: "outputs",
      ...mismatch,
    });
  });

  it("as what a convolution may replace", () => {
    const builder = new GraphBuilder();
    builder.root().input([2, 4, 4]);
    expect(mismatchOf(() => builder.labelFold(foreign(), "conv"))).toEqual({
      node: "conv",
      op: "input",
      what: "value",
      ...mismatch,
    });
  });
});

describe("inputsOf", () => {
  it("gives the values that a value is computed from, in order, labelled ones by either name", () => {
    const builder = new GraphBuilder();
    const scope = builder.root();
    const x = scope.input([2, 4, 4]);
    const plain = scope.relu(x);
    const labelled = builder.labelFold(plain, "block.reparam");
    expect(builder.inputsOf(scope.add([labelled, x, plain]))).toEqual([labelled, x, labelled]);
    expect(builder.inputsOf(x)).toEqual([]);
  });

  it("refuses a value of another builder", () => {
    const other = new GraphBuilder().root().input([2, 4, 4]);
    expect(mismatchOf(() => new GraphBuilder().inputsOf(other))).toMatchObject({ what: "value" });
  });
});

describe("labelFold", () => {
  it("labels a value, which stays usable by its old and its new name", () => {
    const builder = new GraphBuilder();
    const scope = builder.root();
    const plain = scope.relu(scope.input([2, 4, 4]));
    const labelled = builder.labelFold(plain, "block.reparam");
    const sum = scope.add([plain, labelled]);
    const { nodes } = builder.build({ sum });
    expect(nodes.map(({ foldName }) => foldName)).toEqual([undefined, "block.reparam", undefined]);
    expect(nodes[2]?.inputs).toEqual([1, 1]);
  });
});

describe("build", () => {
  it("keeps the outputs' order and names, and several may share a value", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([2, 4, 4]);
      return { second: scope.relu(x), first: x, again: x };
    });
    expect(graph.outputs).toEqual([
      { name: "second", value: 1 },
      { name: "first", value: 0 },
      { name: "again", value: 0 },
    ]);
  });

  it("gives a graph that later nodes do not change", () => {
    const builder = new GraphBuilder();
    const x = builder.root().input([2, 4, 4]);
    const graph = builder.build({ x });
    builder.root().relu(x);
    expect(graph.nodes).toHaveLength(1);
  });

  it("gives a graph that verifies, with every op in it", () => {
    const graph = everyOpGraph();
    verifyGraph(graph);
    expect(new Set(graph.nodes.map(({ op }) => op.kind)).size).toBe(25);
  });
});

describe("shorthands", () => {
  it("a sum or a concatenation of one value is that value, a reshape to the same shape too", () => {
    const scope = new GraphBuilder().root();
    const x = scope.input([2, 4, 4]);
    const kernel = weight(scope, "k", [2, 2]);
    expect(scope.add([x])).toBe(x);
    expect(scope.concat([x])).toBe(x);
    expect(scope.reshape(kernel, [2, 2])).toBe(kernel);
    expect(mismatchOf(() => scope.add([]))).toMatchObject({ what: "inputs", found: "0" });
  });

  it("one number stands for all sides, two for vertical and horizontal", () => {
    expect(toPadding(3)).toEqual([3, 3, 3, 3]);
    expect(toPadding([1, 2])).toEqual([1, 1, 2, 2]);
    expect(toPadding([1, 2, 3, 4])).toEqual([1, 2, 3, 4]);
  });

  it("a pool's stride is its kernel, and padding counts, unless said otherwise", () => {
    const scope = new GraphBuilder().root();
    const x = scope.input([2, 6, 6]);
    const max = scope.maxPool(x, { kernel: [2, 3] });
    expect(max.op).toMatchObject({ kernel: [2, 3], stride: [2, 3], padding: [0, 0, 0, 0] });
    expect(scope.avgPool(x, { kernel: 3 }).op).toMatchObject({ countIncludePad: true });
  });

  it("an input without statistics is taken as it is", () => {
    expect(new GraphBuilder().root().input([3, 4, 4]).op).toMatchObject({
      mean: [0, 0, 0],
      std: [1, 1, 1],
    });
  });
});
