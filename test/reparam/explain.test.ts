// Folding without weights is the dry run: what became of each node, and why the rest stays.

import { describe, expect, it } from "@jest/globals";

import type { Graph } from "../../src/graph/index.js";
import { type FoldedGraph, foldGraph } from "../../src/reparam/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { convNamed, normNamed } from "../helpers/folding.js";
import { graphOf } from "../helpers/graphs.js";

/** Labels of the blocks of a training graph, in order. */
const labels = (graph: Graph) =>
  graph.nodes.flatMap(({ foldName }) => (foldName === undefined ? [] : [foldName]));

/** Expects that groups point at convolutions of the one graph and activations of the other. */
function expectSound(graph: Graph, folded: FoldedGraph): void {
  const seen = new Set<number>();
  for (const { convolution, replaced, rules, output, kernel } of folded.groups) {
    const node = folded.graph.nodes[convolution]!;
    expect(node.op.kind).toBe("conv2d");
    expect(node.name).toBe(output);
    expect(node.rules).toEqual(rules);
    expect(rules.length).toBeGreaterThan(0);
    expect(kernel).toBe(`(${folded.graph.nodes[node.inputs[1]!]!.type.shape.join(",")})`);
    for (const id of replaced) {
      expect(graph.nodes[id]?.type.world).toBe("activation");
      expect(seen.has(id)).toBe(false);
      seen.add(id);
    }
    expect(graph.nodes[replaced.at(-1)!]!.name).toBe(output);
  }
  // What is left bears no mark of a rule.
  const folds = new Set(folded.groups.map(({ convolution }) => convolution));
  for (const { id, rules } of folded.graph.nodes) {
    if (!folds.has(id)) expect(rules).toBeUndefined();
  }
}

describe("the dry run of ResNet-18 x DBB", () => {
  const { graph } = buildModel({ arch: "ResNet-18", block: "DBB" });
  const folded = foldGraph(graph);
  const { groups, refused } = folded;

  it("folds each of the 20 labelled convolutions, and nothing else", () => {
    expectSound(graph, folded);
    expect(labels(graph)).toHaveLength(20);
    expect(groups).toHaveLength(20);
    const names = groups.map(({ convolution }) => folded.graph.nodes[convolution]!.foldName);
    expect(names).toEqual(labels(graph));
    const left = folded.graph.nodes.filter(({ op }) => op.kind === "conv2d");
    expect(left).toHaveLength(20);
    expect(folded.graph.nodes.some(({ op }) => op.kind === "batchNorm")).toBe(false);
    expect(folded.graph.nodes.some(({ op }) => op.kind === "avgPool")).toBe(false);
  });

  it("names the rules of each", () => {
    const used = new Map<string, number>();
    for (const { rules } of groups) {
      const key = [...rules].sort().join(", ");
      used.set(key, (used.get(key) ?? 0) + 1);
    }
    // 16 blocks; the stem and three shortcuts are a convolution and a batch norm.
    expect(Object.fromEntries(used)).toEqual({
      "I conv-batchnorm": 4,
      "I conv-batchnorm, I padded-batchnorm, II parallel, III sequence, V average-pool, VI multi-scale": 16,
    });
  });

  it("says why the residual sums stay", () => {
    expect(refused).toHaveLength(8);
    expect(refused[0]).toEqual({
      output: "stage1.0.add",
      rule: "II parallel",
      reason: 'conv2d "stage1.0.conv2.add" is the output of another block',
    });
    for (const { output, rule } of refused) {
      expect(output).toMatch(/^stage\d\.\d\.add$/);
      expect(rule).toBe("II parallel");
    }
  });

  it("leaves the graph as it was", () => {
    expect(foldGraph(graph)).toEqual(folded);
  });
});

describe("the dry run of other models", () => {
  it.each([
    ["RepVGG-A0", "RepVGG", 22, 0],
    ["RepVGGplus-L2pse", "RepVGGplus", undefined, 0],
    ["ResNet-50", "OREPA", 53, 16],
    ["MobileNet", "DBB", 27, 0],
    ["ResNeXt-50", "DBB", 53, 16],
  ])("%s x %s", (arch, block, convolutions, refusals) => {
    const { graph } = buildModel({ arch, block });
    const folded = foldGraph(graph, { outputs: ["logits"] });
    expectSound(graph, folded);
    expect(folded.groups).toHaveLength(convolutions ?? folded.groups.length);
    expect(folded.groups.length).toBeGreaterThan(0);
    expect(folded.refused).toHaveLength(refusals);
  });
});

describe("the dry run of a graph that does not fold", () => {
  it("with a ReLU inside gives each reason once, at the node where it ends", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      const branch = convNamed(scope.child("branch"), "conv1", x, { kernel: 1 });
      const active = scope.relu(normNamed(scope.child("branch"), "bn1", branch), "branch.relu");
      const second = convNamed(scope.child("branch"), "conv2", active, { padding: 1 });
      const main = convNamed(scope, "main", x, { padding: 1 });
      return scope.add([normNamed(scope, "bn", main), second], "sum");
    });
    const folded = foldGraph(graph);
    expectSound(graph, folded);
    expect(folded.groups.map(({ output, rules }) => [output, rules])).toEqual([
      ["branch.bn1", ["I conv-batchnorm"]],
      ["bn", ["I conv-batchnorm"]],
    ]);
    expect(folded.refused).toEqual([
      {
        output: "sum",
        rule: "II parallel",
        reason: 'its operands read different values, input "input" and relu "branch.relu"',
      },
    ]);
  });

  it("says nothing of what no rule concerns", () => {
    const graph = graphOf((scope) => scope.sigmoid(scope.relu(scope.input([4, 6, 6]))));
    expect(foldGraph(graph)).toEqual({ graph, groups: [], refused: [] });
  });
});

describe("provenance", () => {
  it("merges that of the parts, in order of application", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      const y = convNamed(scope, "conv", x, { padding: 1 });
      return scope.add([normNamed(scope, "bn", y), convNamed(scope, "point", x, { kernel: 1 })]);
    });
    const { graph: folded } = foldGraph(graph);
    expect(folded.nodes.at(-1)!.rules).toEqual([
      "I conv-batchnorm",
      "VI multi-scale",
      "II parallel",
    ]);
  });

  it("is kept when a folded graph is folded again, in a larger one too", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      return normNamed(scope, "bn", convNamed(scope, "conv", x, { padding: 1 }));
    });
    const once = foldGraph(graph);
    const twice = foldGraph(once.graph);
    expect(twice.graph).toEqual(once.graph);
    expect(twice.groups.map(({ rules }) => rules)).toEqual([["I conv-batchnorm"]]);
  });

  it("is kept by a fold that takes only some of the outputs", () => {
    const graph = graphOf((scope) => {
      const x = normNamed(scope, "bn", convNamed(scope, "conv", scope.input([4, 6, 6])));
      return { y: scope.relu(x), aux: normNamed(scope, "auxbn", convNamed(scope, "aux", x)) };
    });
    const { graph: folded, groups } = foldGraph(graph, { outputs: ["y"] });
    expect(folded.outputs.map(({ name }) => name)).toEqual(["y"]);
    expect(groups.map(({ output }) => output)).toEqual(["bn"]);
    expect(folded.nodes.some(({ name }) => name.startsWith("aux"))).toBe(false);
  });
});
