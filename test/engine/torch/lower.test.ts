// What a graph becomes before it goes to the native executor.

import { describe, expect, it } from "@jest/globals";

import { lower, type Plan, type Step } from "../../../src/engine/torch/lower.js";
import { type Graph, GraphBuilder, type Scope, type Value } from "../../../src/graph/index.js";
import { buildModel } from "../../../src/zoo/index.js";

function graphOf(build: (scope: Scope, x: Value) => Value): Graph {
  const scope = new GraphBuilder().root();
  return scope.builder.build({ y: build(scope, scope.input([4, 8, 8])) });
}

function batchNorm(scope: Scope, name: string, x: Value, pad = 0): Value {
  const own = scope.child(name);
  const vector = (label: string) =>
    own.param(label, [4], { init: { kind: "constant", value: 1 }, decay: "norm" });
  const buffer = (label: string) => own.buffer(label, [4], { kind: "constant", value: 1 });
  const weights = {
    gamma: vector("weight"),
    beta: vector("bias"),
    mean: buffer("running_mean"),
    variance: buffer("running_var"),
  };
  return own.batchNorm(x, weights, { eps: 1e-5, momentum: 0.1, pad });
}

function kinds(steps: readonly Step[]): string[] {
  return steps.map(({ kind }) => kind);
}

function sums(plan: Plan): Step[] {
  return plan.activations.filter(({ kind }) => kind === "batchNorms");
}

describe("sums of batch norms", () => {
  it("are one step with their residual and activation", () => {
    const plan = lower(
      graphOf((scope, x) => {
        const branches = scope.add([batchNorm(scope, "a", x), batchNorm(scope, "b", x)]);
        return scope.relu(scope.add([branches, x]));
      }),
    );
    expect(kinds(plan.activations)).toEqual(["input", "batchNorms"]);
    const [sum] = sums(plan);
    expect(sum).toMatchObject({ relu: true, inputs: [0], output: plan.outputs[0]!.slot });
    expect(sum!.branches).toHaveLength(2);
  });

  it("leave a batch norm alone that something else reads", () => {
    const plan = lower(
      graphOf((scope, x) => {
        const shared = batchNorm(scope, "a", x);
        return scope.add([scope.relu(scope.add([shared, batchNorm(scope, "b", x)])), shared]);
      }),
    );
    expect(sums(plan).map(({ branches, inputs }) => [branches!.length, inputs.length])).toEqual([
      [1, 0],
      [1, 1],
    ]);
  });

  it("leave an activation alone that something else reads before it", () => {
    const plan = lower(
      graphOf((scope, x) => {
        const normed = batchNorm(scope, "a", x);
        return scope.mul(scope.relu(normed), normed);
      }),
    );
    expect(kinds(plan.activations)).toEqual(["input", "batchNorms", "relu", "mul"]);
    expect(sums(plan)[0]!.relu).toBe(false);
  });

  it("take a padded batch norm by itself", () => {
    const plan = lower(
      graphOf((scope, x) => scope.add([batchNorm(scope, "a", x, 1), batchNorm(scope, "b", x, 1)])),
    );
    expect(kinds(plan.activations)).toEqual(["input", "batchNorms", "batchNorms", "add"]);
    expect(sums(plan)[0]).toMatchObject({ padding: [1, 1, 1, 1] });
  });

  it("keep every value that is asked for", () => {
    const graph = graphOf((scope, x) => scope.relu(batchNorm(scope, "a", x)));
    const normed = graph.nodes.find(({ op }) => op.kind === "batchNorm")!;
    const plan = lower(graph, [normed.id]);
    expect(kinds(plan.activations)).toEqual(["input", "batchNorms", "relu"]);
    expect(plan.activations.flatMap(({ release }) => release)).not.toContain(normed.id);
  });

  it.each([
    // Those of the last block, and the one of the shortcut beside it.
    ["ResNet-18", "base", 2],
    ["ResNet-18", "DBB", 5],
    ["ResNet-18", "ACB", 4],
    ["RepVGG-A0", "RepVGG", 3],
  ])("%s x %s: up to %d branches", (arch, block, most) => {
    const { graph } = buildModel({ arch, block, imageSize: 32 });
    const plan = lower(graph);
    expect(Math.max(...sums(plan).map(({ branches }) => branches!.length))).toBe(most);
    expect(kinds(plan.activations)).not.toContain("batchNorm");
  });
});

describe("every plan", () => {
  it.each([
    ["ResNet-18", "DBB"],
    ["ResNet-18", "OREPA"],
    ["RepVGG-D2se", "RepVGG"],
    ["RepVGGplus-L2pse", "RepVGGplus"],
    ["MobileNet", "DBB"],
  ])("%s x %s computes a slot once, before it is read, and lets go of it after", (arch, block) => {
    const { graph } = buildModel({ arch, block, imageSize: 64 });
    const plan = lower(graph);
    const live = new Set([...plan.parameterSlots, ...plan.constants.map(({ slot }) => slot)]);
    for (const { inputs, branches = [], output, release } of [
      ...plan.weights,
      ...plan.activations,
    ]) {
      const reads = branches.flatMap(({ x, gamma, runningVar }) => [x, gamma, runningVar]);
      for (const slot of [...inputs, ...reads]) expect(live.has(slot)).toBe(true);
      expect(live.has(output)).toBe(false);
      live.add(output);
      for (const slot of release) expect(live.delete(slot)).toBe(true);
    }
    const alive = plan.activations.map(({ output }) => output).filter((slot) => live.has(slot));
    expect(alive).toEqual(plan.outputs.map(({ slot }) => slot).toSorted((a, b) => a - b));
  });

  it("computes weights apart from activations, and names those that activations read", () => {
    const { graph } = buildModel({ arch: "ResNet-18", block: "OREPA", imageSize: 64 });
    const plan = lower(graph);
    const computed = new Set(plan.weights.map(({ output }) => output));
    const convolved = plan.activations
      .filter(({ kind }) => kind === "conv2d")
      .map(({ inputs: [, weight] }) => weight!)
      .filter((weight) => computed.has(weight));
    expect(convolved.length).toBeGreaterThan(10);
    expect(plan.boundaries.toSorted((a, b) => a - b)).toEqual(convolved.toSorted((a, b) => a - b));
  });

  it("parts a computed weight from its parameters where a penalty reads it too", () => {
    const scope = new GraphBuilder().root();
    const kernel = scope.param("kernel", [4, 4, 1, 1], {
      init: { kind: "constant", value: 1 },
      decay: "kernel",
    });
    const sum = scope.add([kernel, kernel]);
    const doubled = scope.add([sum, sum]);
    const graph = scope.builder.build({
      y: scope.conv2d(scope.input([4, 8, 8]), doubled, undefined),
      penalty: scope.einsum("oihw,oihw->", [sum, sum]),
    });
    const plan = lower(graph);
    expect(plan.boundaries.map((slot) => graph.nodes[slot]!.op.kind)).toEqual(["add", "add"]);
    expect(kinds(plan.weights)).toEqual(["add", "add"]);
    expect(kinds(plan.penalties)).toEqual(["einsum"]);
  });

  it("leaves out what no output needs", () => {
    const plan = lower(
      graphOf((scope, x) => {
        batchNorm(scope, "unused", x);
        return scope.relu(x);
      }),
    );
    expect(kinds(plan.activations)).toEqual(["input", "relu"]);
    expect(plan.parameterSlots).toEqual([-1, -1, -1, -1]);
  });
});
