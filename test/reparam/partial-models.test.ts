// Whole models of which a part folds: blocks in a segmentation network, the rest as it was.

import { types } from "node:util";

import { describe, expect, it } from "@jest/globals";

import {
  acbBlock,
  type Block,
  buildBlock,
  convSpec,
  dbbBlock,
  declareSqueezeExcite,
  repVggBlock,
} from "../../src/blocks/index.js";
import {
  type Graph,
  parametersOf,
  type Scope,
  type Value,
  verifyGraph,
} from "../../src/graph/index.js";
import { fold, foldGraph, materialise } from "../../src/reparam/index.js";
import {
  convNamed,
  normNamed,
  outputsOf,
  randomImages,
  randomState,
  relativeDifference,
} from "../helpers/folding.js";
import { graphOf, weight } from "../helpers/graphs.js";

function block(scope: Scope, name: string, of: Block, x: Value, stride = 1, dilation = 1): Value {
  const spec = convSpec({ out: 8, kernel: 3, stride, dilation });
  return buildBlock(of, scope.child(name), x, spec, { structure: "train", activation: "relu" });
}

/** A backbone of three kinds of blocks, a dilated head with a skip, and an auxiliary head. */
function segmentationNet(): Graph {
  return graphOf((root) => {
    const backbone = root.child("backbone");
    let x = root.input([3, 17, 16]);
    x = convNamed(backbone.child("stem"), "conv", x, { out: 8, padding: 1 });
    x = backbone.relu(normNamed(backbone.child("stem"), "bn", x));
    x = backbone.maxPool(x, { kernel: 3, stride: 2, padding: 1 });
    x = block(backbone, "stage1", dbbBlock(), x);
    const skip = x;
    const gate = declareSqueezeExcite(backbone.child("se"), 8, 2);
    x = gate(block(backbone, "stage2", repVggBlock, x));
    x = block(backbone, "stage3", acbBlock(), x, 1, 2);
    // A batch norm that no convolution precedes.
    x = backbone.relu(normNamed(backbone, "preact", x));

    const head = root.child("head");
    const joined = head.concat([skip, x]);
    const context = head.child("context");
    const wide = convNamed(context, "wide", joined, {
      out: 8,
      dilation: 3,
      padding: 3,
      bias: true,
    });
    const near = convNamed(context, "near", joined, { out: 8, padding: 3, dilation: 3 });
    const mixed = context.add([normNamed(context, "wide_bn", wide), near]);
    const logits = convNamed(head, "classifier", head.relu(mixed), {
      out: 5,
      kernel: 1,
      bias: true,
    });

    // Reads an inner value of the main head: that convolution keeps its batch norm.
    const aux = root.child("aux");
    const shared = convNamed(aux, "conv", skip, { out: 8, kernel: 1 });
    const normed = normNamed(aux, "bn", shared);
    const depthwise = convNamed(aux, "dw", aux.relu(normed), { out: 8, groups: 8, padding: 1 });
    return {
      logits,
      aux: convNamed(aux, "classifier", depthwise, { out: 5, kernel: 1 }),
      features: shared,
    };
  });
}

describe("a segmentation network", () => {
  const graph = segmentationNet();
  const state = randomState(graph, 7);
  const images = randomImages(graph, 7);
  const before = outputsOf(graph, state, images);
  const folded = fold(graph, state);

  it("folds its linear groups alone", () => {
    expect(folded.groups.map(({ output }) => output)).toEqual([
      "backbone.stem.bn",
      "backbone.stage1.add",
      "backbone.stage2.add",
      "backbone.stage3.add",
      "head.context.add",
    ]);
    const count = (kind: string) => folded.graph.nodes.filter(({ op }) => op.kind === kind).length;
    // preact and aux.bn stay, with what is not linear.
    expect(count("batchNorm")).toBe(2);
    expect(count("maxPool")).toBe(1);
    expect(count("concat")).toBe(1);
    expect(count("mul")).toBe(1);
    expect(count("add")).toBe(0);
    verifyGraph(folded.graph);
  });

  it("computes the same", () => {
    const { graph: exact } = foldGraph(graph);
    expect(relativeDifference(outputsOf(exact, state, images), before)).toBeLessThan(1e-12);
    const rounded = outputsOf(folded.graph, folded.state, images);
    expect(relativeDifference(rounded, before)).toBeLessThan(1e-6);
  });

  it("has the names of the blocks, of the only convolution, or of the common scope", () => {
    expect([...folded.state.keys()]).toEqual([
      "backbone.stem.conv.weight",
      "backbone.stem.conv.bias",
      "backbone.stage1.dbb_reparam.weight",
      "backbone.stage1.dbb_reparam.bias",
      "backbone.se.down.weight",
      "backbone.se.down.bias",
      "backbone.se.up.weight",
      "backbone.se.up.bias",
      "backbone.stage2.rbr_reparam.weight",
      "backbone.stage2.rbr_reparam.bias",
      "backbone.stage3.fused_conv.weight",
      "backbone.stage3.fused_conv.bias",
      "backbone.preact.weight",
      "backbone.preact.bias",
      "backbone.preact.running_mean",
      "backbone.preact.running_var",
      "backbone.preact.num_batches_tracked",
      "head.context.reparam.weight",
      "head.context.reparam.bias",
      "head.classifier.weight",
      "head.classifier.bias",
      "aux.conv.weight",
      "aux.bn.weight",
      "aux.bn.bias",
      "aux.bn.running_mean",
      "aux.bn.running_var",
      "aux.bn.num_batches_tracked",
      "aux.dw.weight",
      "aux.classifier.weight",
    ]);
  });

  it("hands on the tensors of the rest untouched, counters included", () => {
    const { parameters } = materialise(graph, foldGraph(graph).graph, folded.groups);
    const unchanged = parameters.filter(({ isUnchanged }) => isUnchanged);
    const old = new Set(parametersOf(graph).map(({ name }) => name));
    expect(unchanged.length).toBe(19);
    for (const { name, value } of unchanged) {
      expect(old.has(name)).toBe(true);
      expect(value(state)).toBe(state.get(name));
      expect(folded.state.get(name)).toBe(state.get(name));
    }
    expect(folded.state.get("aux.bn.num_batches_tracked")!.data[0]).toBe(1007n);
    for (const { name, isUnchanged, value, dtype } of parameters) {
      expect(dtype).toBe(name.endsWith("tracked") ? "i64" : "f32");
      if (isUnchanged) continue;
      expect(types.isFloat32Array(value(state).data)).toBe(true);
    }
    const kept = parametersOf(folded.graph).filter(({ name }) => old.has(name));
    const original = new Map(parametersOf(graph).map((op) => [op.name, op]));
    for (const op of kept) {
      // A folded convolution may bear an old name; its kernel has the old shape then.
      expect(op.shape).toEqual(original.get(op.name)!.shape);
    }
  });

  it("drops the auxiliary heads where they are not asked for", () => {
    const deployed = fold(graph, state, { outputs: ["logits"] });
    expect([...deployed.state.keys()].some((name) => name.startsWith("aux"))).toBe(false);
    const after = outputsOf(deployed.graph, deployed.state, images);
    const logits = new Map([["logits", before.get("logits")!]]);
    expect(relativeDifference(after, logits)).toBeLessThan(1e-6);
  });

  it("is folded further by a folded fold no more", () => {
    const again = fold(folded.graph, folded.state);
    expect([...again.state.keys()]).toEqual([...folded.state.keys()]);
    for (const [name, tensor] of again.state) {
      expect(tensor).toEqual(folded.state.get(name));
    }
  });
});

describe("weights that are shared", () => {
  it("between a convolution that folds and one that does not keep their old name there", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      const kernel = weight(scope.child("conv"), "weight", [4, 4, 3, 3]);
      const y = normNamed(scope, "bn", scope.conv2d(x, kernel, undefined, { padding: 1 }, "conv"));
      return scope.conv2d(scope.relu(y), kernel, undefined, {}, "again");
    });
    const state = randomState(graph);
    const images = randomImages(graph);
    const folded = fold(graph, state);
    expect([...folded.state.keys()].sort()).toEqual([
      "conv.weight",
      "conv_2.bias",
      "conv_2.weight",
    ]);
    expect(folded.state.get("conv.weight")).toBe(state.get("conv.weight"));
    const after = outputsOf(folded.graph, folded.state, images);
    expect(relativeDifference(after, outputsOf(graph, state, images))).toBeLessThan(1e-6);
  });

  it("between two that fold become two", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      const kernel = weight(scope.child("conv"), "weight", [4, 4, 1, 1]);
      const y = normNamed(scope, "bn1", scope.conv2d(x, kernel, undefined, {}, "conv"));
      return normNamed(scope, "bn2", scope.conv2d(scope.relu(y), kernel, undefined, {}, "again"));
    });
    const { state } = fold(graph, randomState(graph));
    expect([...state.keys()]).toEqual(["conv.weight", "conv.bias", "conv_2.weight", "conv_2.bias"]);
  });
});
