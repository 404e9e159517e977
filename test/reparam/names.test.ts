// What layers are called whose weights have been computed.

import { describe, expect, it } from "@jest/globals";

import { type Graph, parametersOf, verifyGraph } from "../../src/graph/index.js";
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

/** Names of the layers of the materialised graph that have a weight or a bias. */
function layersOf(graph: Graph): readonly string[] {
  const folded = foldGraph(graph, { maxCostRatio: Infinity });
  const result = materialise(graph, folded.graph, folded.groups).graph;
  verifyGraph(result);
  const names = parametersOf(result).map(({ name }) => name.replace(/\.(weight|bias)$/, ""));
  return [...new Set(names)];
}

/** Branches of one value at the given paths, added. */
function sumOf(paths: readonly string[]): Graph {
  return graphOf((scope) => {
    const x = scope.input([4, 6, 6]);
    const branches = paths.map((path) => convNamed(scope, path, x, { padding: 1 }));
    return scope.add(branches, "sum");
  });
}

describe("a folded convolution is called", () => {
  it("as its block says", () => {
    const graph = graphOf((scope) => {
      const layer = scope.child("block");
      const y = normNamed(layer, "bn", convNamed(layer, "conv", scope.input([4, 6, 6])));
      return scope.builder.labelFold(y, "block.reparam_conv");
    });
    expect(layersOf(graph)).toEqual(["block.reparam_conv"]);
  });

  it("as the only convolution in it", () => {
    const graph = graphOf((scope) => {
      const layer = scope.child("layer1.0");
      return normNamed(layer, "bn1", convNamed(layer, "conv1", scope.input([4, 6, 6])));
    });
    expect(layersOf(graph)).toEqual(["layer1.0.conv1"]);
  });

  it("as the only convolution's weight, where its node is called otherwise", () => {
    const graph = graphOf((scope) => {
      const kernel = weight(scope.child("features.0"), "weight", [4, 4, 1, 1]);
      return normNamed(scope, "bn", scope.conv2d(scope.input([4, 6, 6]), kernel, undefined));
    });
    expect(layersOf(graph)).toEqual(["features.0"]);
  });

  it("as the only convolution's node, where its kernel is no plain weight", () => {
    const graph = graphOf((scope) => {
      const layer = scope.child("wave");
      const one = weight(layer, "one", [4, 4, 1, 1]);
      const kernel = layer.add([one, weight(layer, "two", [4, 4, 1, 1])]);
      return normNamed(
        layer,
        "bn",
        layer.conv2d(scope.input([4, 6, 6]), kernel, undefined, {}, "mix"),
      );
    });
    expect(layersOf(graph)).toEqual(["wave.mix"]);
  });

  it.each([
    [["net.block.a", "net.block.b"], "sum", "reparam"],
    [["net.block.a", "net.other.b"], "net.sum", "net.reparam"],
    [["net.block.a", "net.block.b"], "net.block.sum", "net.block.reparam"],
    [["net.blocks.a", "net.block.b"], "net.block.sum", "net.reparam"],
  ])("by the common scope of %j and %s", (paths, sum, expected) => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      return scope.add(
        paths.map((path) => convNamed(scope, path, x)),
        sum,
      );
    });
    expect(layersOf(graph)).toEqual([expected]);
  });

  it("by its scope, if there is no convolution in it", () => {
    const graph = graphOf((scope) => {
      const layer = scope.child("pool");
      const x = scope.input([4, 6, 6]);
      return normNamed(layer, "bn", layer.avgPool(x, { kernel: 2 }));
    });
    expect(layersOf(graph)).toEqual(["pool.reparam"]);
  });

  it("with a number where the name is taken", () => {
    const graph = graphOf((scope) => {
      let x = scope.input([4, 6, 6]);
      for (const path of ["a", "b", "c"]) {
        const branches = [1, 2].map((i) => convNamed(scope, `net.${path}${i}`, x, { kernel: 1 }));
        x = scope.relu(scope.add(branches, `net.${path}`));
      }
      return x;
    });
    expect(layersOf(graph)).toEqual(["net.reparam", "net.reparam_2", "net.reparam_3"]);
  });

  it("with a number where a layer that stays has the name", () => {
    const graph = graphOf((scope) => {
      const x = scope.relu(convNamed(scope, "reparam", scope.input([4, 6, 6]), { kernel: 1 }));
      const branches = ["a", "b"].map((path) => convNamed(scope, path, x));
      return scope.add(branches, "sum");
    });
    expect(layersOf(graph)).toEqual(["reparam", "reparam_2"]);
  });
});

describe("a layer that is not folded but reads an expression is called", () => {
  const mix = (paths: readonly string[]) =>
    graphOf((scope) => {
      const x = scope.input([4, 6, 6]);
      const one = weight(scope, "one", [4, 4, 1, 1]);
      const two = weight(scope, "two", [4, 4, 1, 1]);
      const kernel = scope.add([one, two]);
      return paths.reduce((y, name) => scope.relu(scope.conv2d(y, kernel, undefined, {}, name)), x);
    });

  it("by its own name", () => {
    expect(layersOf(mix(["first", "second"]))).toEqual(["first", "second"]);
  });

  it("with a number where several have one name", () => {
    const graph = mix(["conv", "conv", "conv"]);
    expect(layersOf(graph)).toEqual(["conv", "conv_2", "conv_3"]);
    const state = randomState(graph);
    const images = randomImages(graph);
    const folded = fold(graph, state);
    const after = outputsOf(folded.graph, folded.state, images);
    expect(relativeDifference(after, outputsOf(graph, state, images))).toBeLessThan(1e-6);
  });

  it("and keeps a bias that is a parameter", () => {
    const graph = graphOf((scope) => {
      const layer = scope.child("conv");
      const kernel = layer.add([
        weight(layer, "a", [4, 4, 1, 1]),
        weight(layer, "b", [4, 4, 1, 1]),
      ]);
      return scope.conv2d(scope.input([4, 6, 6]), kernel, weight(layer, "bias", [4]), {}, "conv");
    });
    const state = randomState(graph);
    const folded = fold(graph, state);
    expect([...folded.state.keys()].sort()).toEqual(["conv.bias", "conv.weight"]);
    expect(folded.state.get("conv.bias")).toBe(state.get("conv.bias"));
  });
});

describe("names of parameters", () => {
  it("stay unique whatever folds", () => {
    const graph = sumOf(["net.a", "net.b"]);
    const names = parametersOf(fold(graph, randomState(graph)).graph).map(({ name }) => name);
    expect(names).toEqual(["reparam.weight"]);
  });
});
