// RepVGG's custom L2: the reference's values, what it depends on, and what it leaves alone.

import { describe, expect, it } from "@jest/globals";

import {
  type Graph,
  graphFromJson,
  graphToJson,
  interpret,
  printGraph,
  type State,
  type StateSource,
  structuralHash,
  type Tensor,
  toFloat64,
  verifyGraph,
} from "../../src/graph/index.js";
import { fold, foldGraph } from "../../src/reparam/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { filledState } from "../helpers/fill.js";
import { blockNames, readBlock } from "../helpers/fixtures.js";
import { errorOf, outputOf } from "../helpers/graphs.js";
import { numbers } from "../helpers/numbers.js";
import { blockGraph, referenceBlock } from "../helpers/reference-blocks.js";

/**
 * Recorded in float32: every summand comes from some ten roundings of 2^-24, all of one sign at
 * worst, and their sum, added up in pairs, from one more for each doubling of its 2^10 terms.
 */
const RECORDED = { relative: 20 * 2 ** -24 };

const PREFIX = "custom_l2_grad.";
const NAMES = blockNames().filter((name) => readBlock(name).tensors.has("custom_l2"));

function penaltyOf(graph: Graph, state: StateSource): number {
  const { nodes } = graph;
  const outputs = graph.outputs.filter(({ name }) => name === "customL2");
  const result = interpret({ nodes, outputs }, state, undefined, { mode: "train" });
  return outputOf(result, "customL2").data[0]!;
}

/** Parameters from which a path to the output avoids every `detach`. */
function differentiableParameters(graph: Graph, output: string): string[] {
  const reached = new Set([graph.outputs.find(({ name }) => name === output)!.value]);
  for (const { id, op, inputs } of graph.nodes.toReversed()) {
    if (reached.has(id) && op.kind !== "detach") for (const input of inputs) reached.add(input);
  }
  return graph.nodes.flatMap(({ id, op }) =>
    reached.has(id) && op.kind === "param" && op.role === "param" ? [op.name] : [],
  );
}

describe("blocks of the reference", () => {
  it("that record it are the eight of RepVGG and three of OREPA_VGG", () => {
    const classes = NAMES.map((name) => readBlock(name).class);
    expect(classes.filter((name) => name === "RepVGGBlock")).toHaveLength(8);
    expect(classes.filter((name) => name === "RepVGGBlock_OREPA")).toHaveLength(3);
    expect(classes).toHaveLength(11);
  });

  describe.each(NAMES)("%s", (name) => {
    const { tensors, ...reference } = readBlock(name);
    const graph = blockGraph(referenceBlock(reference), "train", { customL2: true });
    const state: State = new Map(
      [...tensors].flatMap(([key, tensor]) =>
        key.startsWith("state.") ? [[key.slice("state.".length), tensor]] : [],
      ),
    );
    const gradients = [...tensors].flatMap(([key, tensor]) =>
      key.startsWith(PREFIX) ? [[key.slice(PREFIX.length), tensor] as const] : [],
    );

    it("is a scalar of the reference's value", () => {
      const penalty = { shape: [], data: Float64Array.of(penaltyOf(graph, state)) };
      expect(penalty).toBeCloseToTensor(tensors.get("custom_l2")!, RECORDED);
    });

    it("depends on the kernels alone, whatever else it is made of", () => {
      const expected = gradients.map(([name]) => name);
      expect(differentiableParameters(graph, "customL2").sort()).toEqual(expected.sort());
    });

    it.each(gradients)("changes along %s as the reference's gradient says", (name, gradient) => {
      const direction = numbers(`direction of ${name}`, gradient.shape);
      const { data } = toFloat64(gradient);
      const slope = data.reduce((sum, g, i) => sum + g * direction.data[i]!, 0);
      const along = (step: number) =>
        penaltyOf(graph, new Map([...state, [name, moved(state.get(name)!, direction, step)]]));
      // Symmetric differences are exact: kernels are linear in each parameter, OREPA's too.
      const step = 2 ** -10;
      const found = (along(step) - along(-step)) / (2 * step);
      const size = Math.hypot(...data) * Math.hypot(...direction.data);
      expect(Math.abs(found - slope) / size).toBeLessThan(20 * 2 ** -24);
    });
  });
});

function moved(tensor: Tensor, direction: Tensor<Float64Array>, step: number): Tensor {
  const { shape, data } = toFloat64(tensor);
  return { shape, data: data.map((value, i) => value + step * direction.data[i]!) };
}

describe("models", () => {
  const options = { arch: "RepVGG-A0", block: "RepVGG", imageSize: 32, numClasses: 10 };
  const plain = buildModel(options);
  const { graph } = buildModel({ ...options, customL2: true });

  it("have it as a last output, the sum over all blocks, if asked", () => {
    expect(plain.graph.outputs.map(({ name }) => name)).toEqual(["logits"]);
    expect(graph.outputs.map(({ name }) => name)).toEqual(["logits", "customL2"]);
    const sum = graph.nodes[graph.outputs[1]!.value]!;
    expect([sum.type, sum.op.kind]).toEqual([{ world: "weight", shape: [] }, "add"]);
    expect(sum.inputs).toHaveLength(22);
    const state = filledState(graph);
    const each = sum.inputs.map((value) =>
      penaltyOf({ nodes: graph.nodes, outputs: [{ name: "customL2", value }] }, state),
    );
    const total = each.reduce((total, penalty) => total + penalty, 0);
    expect(penaltyOf(graph, state)).toBeCloseTo(total, 9);
    expect(Math.min(...each)).toBeGreaterThan(0);
  });

  it("are well formed with it, as text and as JSON", () => {
    verifyGraph(graph);
    expect(printGraph(graph)).toMatch(/: \(\) = add\(.*\) {2}# customL2\nreturn logits=/);
    expect(structuralHash(graphFromJson(graphToJson(graph)))).toBe(structuralHash(graph));
    expect(structuralHash(graph)).not.toBe(structuralHash(plain.graph));
  });

  it("fold as they do without it, and it keeps its value", () => {
    const folded = foldGraph(graph);
    verifyGraph(folded.graph);
    expect(folded.groups.map(({ kernel }) => kernel)).toEqual(
      foldGraph(plain.graph).groups.map(({ kernel }) => kernel),
    );
    const state = filledState(graph);
    expect(penaltyOf(folded.graph, state)).toBe(penaltyOf(graph, state));
    const deployed = foldGraph(graph, { outputs: ["logits"] });
    expect(structuralHash(deployed.graph)).toBe(structuralHash(foldGraph(plain.graph).graph));
  });

  it("cannot be deployed with it", () => {
    expect(errorOf(() => fold(graph, filledState(graph)))).toEqual({
      kind: "usage",
      message: 'output "customL2" is a weight; a deployed graph has activations as outputs',
    });
  });

  it.each([
    [{ arch: "ResNet-18", block: "DBB" }, "ResNet-18 x DBB: no block of it"],
    [{ ...options, structure: "deploy" as const }, "RepVGG-A0 x RepVGG: no block of its deployed"],
  ])("refuse %j, where no block has one", (options, message) => {
    const error = errorOf(() => buildModel({ ...options, customL2: true }));
    expect(error.kind).toBe("usage");
    expect(error.message).toContain(message);
  });
});
