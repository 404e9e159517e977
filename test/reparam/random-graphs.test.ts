// Folding never changes what a graph computes: random graphs of linear branches, borders included.

import { describe, expect, it } from "@jest/globals";

import {
  type Float64Tensor,
  type Graph,
  interpret,
  type Node,
  printGraph,
  sameShape,
  structuralHash,
  verifyGraph,
} from "../../src/graph/index.js";
import { evaluateWeight } from "../../src/reparam/evaluate.js";
import { fold, foldGraph, type FoldOptions, materialise, rules } from "../../src/reparam/index.js";
import {
  countingRules,
  outputsOf,
  randomImages,
  randomState,
  relativeDifference,
} from "../helpers/folding.js";
import { randomGraph } from "../helpers/random-graphs.js";

const SEEDS = 600;
const BATCH = 25;

const batches = Array.from({ length: SEEDS / BATCH }, (_, index) => index * BATCH);
const seedsFrom = (first: number) => Array.from({ length: BATCH }, (_, i) => first + i);

/** Runs a check for every seed of the batch; a failure names its seed and shows its graph. */
function forEachSeed(first: number, check: (graph: Graph, seed: number) => void): void {
  for (const seed of seedsFrom(first)) {
    const graph = randomGraph(seed);
    try {
      check(graph, seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}\n${printGraph(graph)}`, {
        cause: error,
      });
    }
  }
}

const settings: [name: string, options: FoldOptions][] = [
  ["within the default cost", {}],
  ["at any cost", { maxCostRatio: Infinity }],
];

describe.each(settings)("folding random graphs %s", (_name, options) => {
  it.each(batches)("computes the same, seeds from %i", (first) => {
    forEachSeed(first, (graph, seed) => {
      const folded = foldGraph(graph, options);
      verifyGraph(folded.graph);
      const state = randomState(graph, seed);
      const images = randomImages(graph, seed);
      const difference = relativeDifference(
        outputsOf(folded.graph, state, images),
        outputsOf(graph, state, images),
      );
      expect(difference).toBeLessThan(1e-10);
      for (const { convolution, replaced, rules } of folded.groups) {
        // A larger kernel for nothing is no fold.
        if (rules.includes("VI multi-scale")) {
          expect(rules.some((rule) => /^(II parallel|IV depth-concat)$/.test(rule))).toBe(true);
        }
        expect(folded.graph.nodes[convolution]?.op.kind).toBe("conv2d");
        expect(replaced.length).toBeGreaterThan(0);
        for (const id of replaced) expect(graph.nodes[id]?.type.world).toBe("activation");
      }
    });
  });

  it.each(batches)("is deterministic and gives parameters of its own, seeds from %i", (first) => {
    forEachSeed(first, (graph, seed) => {
      const folded = foldGraph(graph, options);
      const again = foldGraph(graph, options);
      expect(printGraph(again.graph)).toBe(printGraph(folded.graph));
      const result = materialise(graph, folded.graph, folded.groups);
      verifyGraph(result.graph);
      const state = randomState(graph, seed);
      for (const { shape, value } of result.parameters) {
        expect(sameShape(value(state).shape, shape)).toBe(true);
      }
    });
  });
});

describe("folding random graphs", () => {
  it.each(batches)("a second time changes nothing, seeds from %i", (first) => {
    forEachSeed(first, (graph) => {
      const once = foldGraph(graph, { maxCostRatio: Infinity });
      const twice = foldGraph(once.graph, { maxCostRatio: Infinity });
      expect(structuralHash(twice.graph)).toBe(structuralHash(once.graph));
      expect(printGraph(twice.graph)).toBe(printGraph(once.graph));
    });
  });

  it.each(batches.slice(0, 8))(
    "gives weights that evaluate to their expressions, seeds from %i",
    (first) => {
      forEachSeed(first, (graph, seed) => {
        const state = randomState(graph, seed);
        const { graph: folded, groups } = foldGraph(graph, { maxCostRatio: Infinity });
        const values = new Map<number, Float64Tensor>();
        const onValue = ({ id }: Node, value: Float64Tensor) => values.set(id, value);
        interpret(folded, state, randomImages(graph, seed), { mode: "infer", onValue });
        for (const { convolution } of groups) {
          for (const id of folded.nodes[convolution]!.inputs.slice(1)) {
            const value = evaluateWeight(folded, id, state);
            expect(value).toBeCloseToTensor(values.get(id)!, { relative: 1e-12 });
          }
        }
      });
    },
  );

  it.each(batches.slice(0, 4))("to float32 costs one rounding, seeds from %i", (first) => {
    forEachSeed(first, (graph, seed) => {
      const state = randomState(graph, seed);
      const images = randomImages(graph, seed);
      const folded = fold(graph, state);
      const difference = relativeDifference(
        outputsOf(folded.graph, folded.state, images),
        outputsOf(graph, state, images),
      );
      expect(difference).toBeLessThan(1e-6);
    });
  });

  it("exercises every rule, and leaves something to fold in most graphs", () => {
    const { rules: counting, counts } = countingRules();
    let foldable = 0;
    for (let seed = 0; seed < SEEDS; seed++) {
      const { groups } = foldGraph(randomGraph(seed), { rules: counting });
      if (groups.length > 0) foldable++;
    }
    for (const { name } of rules) {
      expect([name, (counts.get(name) ?? 0) >= SEEDS / 20]).toEqual([name, true]);
    }
    expect(foldable).toBeGreaterThan(SEEDS / 2);
  });
});
