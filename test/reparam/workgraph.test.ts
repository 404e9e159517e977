// The graph under rewriting: who uses whom, replacing, dropping, and the order of what comes out.

import { describe, expect, it } from "@jest/globals";

import { type Graph, structuralHash, verifyGraph } from "../../src/graph/index.js";
import { asOp, WorkGraph, type WorkNode } from "../../src/reparam/workgraph.js";
import { convNamed, normNamed } from "../helpers/folding.js";
import { graphOf, mismatchOf } from "../helpers/graphs.js";

/** x → a = relu, then a + a + silu(a). */
const diamond = () =>
  graphOf((scope) => {
    const a = scope.relu(scope.input([2, 3, 3]), "a");
    return scope.add([a, a, scope.silu(a, "b")], "sum");
  });

function named(work: WorkGraph, name: string): WorkNode {
  const node = work.nodes().find((candidate) => candidate.name === name);
  if (node === undefined) throw new Error(`no node ${name}`);
  return node;
}

const namesOf = (work: WorkGraph) => work.nodes().map(({ name }) => name);

describe("uses", () => {
  it("are counted once for each operand and output", () => {
    const work = new WorkGraph(diamond());
    expect(work.useCount(named(work, "input"))).toBe(1);
    expect(work.useCount(named(work, "a"))).toBe(3);
    expect(work.useCount(named(work, "b"))).toBe(1);
    expect(work.useCount(named(work, "sum"))).toBe(1);
  });

  it("by one node alone may be several", () => {
    const work = new WorkGraph(
      graphOf((scope) => {
        const a = scope.relu(scope.input([2, 3, 3]), "a");
        return scope.relu(scope.add([a, a], "sum"), "end");
      }),
    );
    expect(work.usedOnlyBy(named(work, "a"), named(work, "sum"))).toBe(true);
    expect(work.usedOnlyBy(named(work, "a"), named(work, "end"))).toBe(false);
  });

  it("of an output are not those of any node", () => {
    const work = new WorkGraph(
      graphOf((scope) => {
        const a = scope.relu(scope.input([2, 3, 3]), "a");
        return { a, again: a, y: scope.relu(a, "b") };
      }),
    );
    expect(work.useCount(named(work, "a"))).toBe(3);
    expect(work.usedOnlyBy(named(work, "a"), named(work, "b"))).toBe(false);
  });

  it("in a graph of fewer outputs are fewer", () => {
    const graph = graphOf((scope) => {
      const a = scope.relu(scope.input([2, 3, 3]), "a");
      return { aux: scope.silu(a, "aux"), y: scope.sigmoid(a, "y") };
    });
    const work = new WorkGraph(graph, ["y"]);
    expect(namesOf(work)).toEqual(["input", "a", "y"]);
    expect(work.useCount(named(work, "a"))).toBe(1);
    expect(work.build().outputs).toEqual([{ name: "y", value: 2 }]);
  });
});

describe("replacing", () => {
  it("redirects every use, and drops what nothing uses any more", () => {
    const work = new WorkGraph(diamond());
    const a = named(work, "a");
    const c = work.add(a, { kind: "sigmoid" }, [named(work, "input")], { name: "c" });
    work.replace(a, c);
    expect(namesOf(work)).toEqual(["input", "c", "b", "sum"]);
    expect(work.current(a)).toBeUndefined();
    expect(work.useCount(c)).toBe(3);
    expect(work.useCount(named(work, "input"))).toBe(1);
    expect(work.inputs(named(work, "sum")).map(({ name }) => name)).toEqual(["c", "c", "b"]);
    verifyGraph(work.build());
  });

  it("redirects outputs", () => {
    const work = new WorkGraph(diamond());
    const sum = named(work, "sum");
    work.replace(sum, work.add(sum, { kind: "relu" }, [named(work, "b")], { name: "only" }));
    const graph = work.build();
    expect(graph.nodes.map(({ name }) => name)).toEqual(["input", "a", "b", "only"]);
    expect(graph.outputs).toEqual([{ name: "y", value: 3 }]);
  });

  it("drops chains, but keeps what others use", () => {
    const work = new WorkGraph(
      graphOf((scope) => {
        const x = scope.input([2, 3, 3]);
        const a = scope.relu(x, "a");
        const c = scope.relu(scope.relu(a, "b"), "c");
        return scope.add([a, c], "sum");
      }),
    );
    work.replace(named(work, "c"), named(work, "a"));
    expect(namesOf(work)).toEqual(["input", "a", "sum"]);
    expect(work.useCount(named(work, "a"))).toBe(2);
  });

  it("by something made of what is replaced keeps that", () => {
    const work = new WorkGraph(
      graphOf((scope) => scope.relu(scope.silu(scope.input([2, 3, 3]), "a"), "b")),
    );
    const b = named(work, "b");
    const inner = work.add(b, { kind: "sigmoid" }, [named(work, "a")], { name: "inner" });
    work.replace(b, work.add(b, { kind: "add" }, [inner, named(work, "a")], { name: "c" }));
    expect(namesOf(work)).toEqual(["input", "a", "inner", "c"]);
  });

  it("checks what is added as the builder does", () => {
    const work = new WorkGraph(diamond());
    const sum = named(work, "sum");
    expect(mismatchOf(() => work.add(sum, { kind: "sub" }, [sum, sum]))).toMatchObject({
      op: "sub",
    });
  });

  it("finds no node that is not there", () => {
    const work = new WorkGraph(diamond());
    expect(() => work.node(99)).toThrow("node 99 is not in the graph");
    expect(() => work.input(named(work, "input"), 0)).toThrow("is not in the graph");
  });
});

describe("the order of the nodes", () => {
  it("is that of the original, new ones in the place of their root", () => {
    const work = new WorkGraph(
      graphOf((scope) => {
        const x = scope.input([2, 3, 3]);
        return scope.add([scope.relu(x, "a"), scope.silu(x, "b")], "sum");
      }),
    );
    const a = named(work, "a");
    const first = work.add(a, { kind: "sigmoid" }, [named(work, "input")], { name: "a1" });
    work.replace(a, work.add(a, { kind: "sigmoid" }, [first], { name: "a2" }));
    expect(namesOf(work)).toEqual(["input", "a1", "a2", "b", "sum"]);
  });

  it("puts inputs before users where a younger node replaces an operand in the same place", () => {
    const work = new WorkGraph(
      graphOf((scope) =>
        scope.add([scope.relu(scope.input([2, 3, 3]), "a"), scope.input([2, 3, 3])], "sum"),
      ),
    );
    const sum = named(work, "sum");
    const [a, other] = work.inputs(sum) as [WorkNode, WorkNode];
    const operand = work.add(sum, { kind: "sigmoid" }, [a], { name: "old" });
    work.replace(sum, work.add(sum, { kind: "add" }, [operand, other], { name: "new sum" }));
    work.replace(operand, work.add(sum, { kind: "silu" }, [a], { name: "younger" }));
    expect(namesOf(work)).toEqual(["input", "a", "input", "younger", "new sum"]);
    verifyGraph(work.build());
  });

  it("of an untouched graph is its own, labels and provenance included", () => {
    const graph = graphOf((scope) => {
      const layer = scope.child("layer");
      const y = normNamed(layer, "bn", convNamed(layer, "conv", scope.input([4, 6, 6])));
      return scope.relu(scope.builder.labelFold(y, "layer.reparam"));
    });
    const marked: Graph = {
      ...graph,
      nodes: graph.nodes.map((node) =>
        node.op.kind === "conv2d" ? { ...node, rules: ["I conv-batchnorm", "II parallel"] } : node,
      ),
    };
    const built = new WorkGraph(marked).build();
    expect(built).toEqual(marked);
    expect(structuralHash(built)).toBe(structuralHash(graph));
  });
});

describe("what a node stands for", () => {
  it("is itself, if it is an activation", () => {
    const graph = graphOf((scope) => convNamed(scope, "conv", scope.input([4, 6, 6])));
    for (const { type, covers, id, position, steps } of new WorkGraph(graph).nodes()) {
      expect([...covers]).toEqual(type.world === "activation" ? [id] : []);
      expect(position).toBe(id);
      expect(steps).toEqual([]);
    }
  });

  it("can be asked for by op", () => {
    const work = new WorkGraph(diamond());
    expect(asOp(named(work, "a"), "relu")).toBe(named(work, "a"));
    expect(asOp(named(work, "a"), "silu")).toBeUndefined();
  });
});
