// Running whole graphs: images, state, outputs, and what is missing.

import { describe, expect, it } from "@jest/globals";

import {
  feedImages,
  type Graph,
  initialState,
  interpret,
  interpretStepwise,
  type State,
  tensor64,
  type Tensor,
} from "../../../src/graph/index.js";
import { everyOpGraph } from "../../helpers/every-op.js";
import { errorOf, graphOf, outputOf, run, weight } from "../../helpers/graphs.js";
import { numbers } from "../../helpers/numbers.js";

describe("images", () => {
  const statistics = { mean: [0.5, 0.25, 0], std: [0.5, 0.25, 2] };
  const graph = graphOf((scope) => scope.input([3, 1, 2], statistics));

  it("of bytes [N,H,W,C] are scaled to 0..1, normalised and laid out as [N,C,H,W]", () => {
    const data = Uint8Array.of(255, 0, 51, 0, 255, 102, 51, 51, 51, 102, 102, 255);
    const { y } = run(graph, { images: { shape: [2, 1, 2, 3], data } });
    expect(y).toBeCloseToTensor(
      {
        shape: [2, 3, 1, 2],
        data: Float64Array.of(
          ...[1, -1, -1, 3, 0.1, 0.2],
          ...[
            (0.2 - 0.5) / 0.5,
            (0.4 - 0.5) / 0.5,
            (0.2 - 0.25) / 0.25,
            (0.4 - 0.25) / 0.25,
            0.1,
            0.5,
          ],
        ),
      },
      { absolute: 1e-15 },
    );
  });

  it.each([
    ["float64", Float64Array],
    ["float32", Float32Array],
  ])("of %s [N,C,H,W] are taken as they are", (_name, type) => {
    const data = type.of(1, -2, 3, 0.5, 5, 6);
    expect(run(graph, { images: { shape: [1, 3, 1, 2], data } }).y).toEqual({
      shape: [1, 3, 1, 2],
      data: Float64Array.of(1, -2, 3, 0.5, 5, 6),
    });
  });

  it.each<[string, Tensor | { shape: number[]; data: Uint8Array }, string]>([
    [
      "bytes in the order of numbers",
      { shape: [1, 3, 1, 2], data: new Uint8Array(6) },
      "images: expected (1,1,2,3), received (1,3,1,2)",
    ],
    [
      "numbers in the order of bytes",
      { shape: [1, 1, 2, 3], data: new Float32Array(6) },
      "images: expected (1,3,1,2), received (1,1,2,3)",
    ],
    [
      "images of another size",
      { shape: [2, 3, 2, 2], data: new Float32Array(24) },
      "images: expected (2,3,1,2), received (2,3,2,2)",
    ],
  ])("refuses %s", (_name, images, message) => {
    expect(errorOf(() => run(graph, { images }))).toEqual({ kind: "usage", message });
  });

  it("are asked for where the graph needs them, and not where it does not", () => {
    expect(errorOf(() => run(graph))).toEqual({
      kind: "usage",
      message: "this graph needs a batch of images",
    });
    const weights = graphOf((scope) => weight(scope, "w", [2]));
    expect(run(weights, { state: { w: [[2], [1, 2]] } }).y).toEqual(tensor64([2], [1, 2]));
  });
});

describe("state", () => {
  const graph = graphOf((scope) => {
    const layer = scope.child("layer");
    return layer.scale(weight(layer, "weight", [2, 1]), weight(layer, "scale", [2]));
  });

  it("that lacks a tensor is refused by its name", () => {
    expect(
      errorOf(() =>
        run(graph, {
          state: {
            "layer.weight": [
              [2, 1],
              [1, 2],
            ],
          },
        }),
      ),
    ).toEqual({
      kind: "usage",
      message: 'state: no tensor "layer.scale"',
    });
  });

  it("of another shape is refused with both shapes", () => {
    const state = {
      "layer.weight": [
        [1, 2],
        [1, 2],
      ],
      "layer.scale": [[2], [1, 2]],
    } as const;
    expect(errorOf(() => run(graph, { state }))).toEqual({
      kind: "usage",
      message: 'state: "layer.weight" should be (2,1), received (1,2)',
    });
  });

  it("may be float32, and may hold more than the graph reads", () => {
    const state: State = new Map<string, Tensor>([
      ["layer.weight", { shape: [2, 1], data: Float32Array.of(0.5, 2) }],
      ["layer.scale", tensor64([2], [3, 4])],
      ["other", tensor64([1], [NaN])],
    ]);
    expect(outputOf(interpret(graph, state, undefined, { mode: "infer" }))).toEqual(
      tensor64([2, 1], [1.5, 8]),
    );
  });

  it("may be anything that hands out tensors by name", () => {
    const asked: string[] = [];
    const source = {
      get(name: string) {
        asked.push(name);
        return name === "layer.weight" ? tensor64([2, 1], [1, 2]) : tensor64([2], [3, 4]);
      },
    };
    expect(outputOf(interpret(graph, source, undefined, { mode: "infer" }))).toEqual(
      tensor64([2, 1], [3, 8]),
    );
    expect(asked).toEqual(["layer.weight", "layer.scale"]);
  });
});

describe("values are forgotten after their last use", () => {
  const graph = everyOpGraph();
  const state = initialState(graph, 3);
  const images = numbers("x", [2, 4, 6, 6]);
  /** The same graph in which every value is an output, so that none is ever forgotten. */
  const keeping: Graph = {
    nodes: graph.nodes,
    outputs: graph.nodes.map(({ id }) => ({ name: String(id), value: id })),
  };

  it.each(["infer", "train"] as const)("without any difference to the results: %s", (mode) => {
    const kept = interpret(keeping, state, images, { mode });
    const seen = new Map<number, Float64Array>();
    const { outputs, updates } = interpret(graph, state, images, {
      mode,
      onValue: ({ id }, { data }) => seen.set(id, data.slice()),
    });
    expect(seen.size).toBe(graph.nodes.length);
    for (const { id, op, type } of graph.nodes) {
      const { shape, data } = outputOf(kept, String(id));
      // No later op has changed a value that was there before, running statistics apart.
      const isUpdated = op.kind === "param" && updates.has(op.name);
      if (!isUpdated) expect(data).toEqual(seen.get(id));
      const batch = type.world === "activation" ? [2] : [];
      expect(shape).toEqual([...batch, ...type.shape]);
    }
    for (const { name, value } of graph.outputs) {
      expect(outputs.get(name)).toEqual(kept.outputs.get(String(value)));
    }
    expect(updates).toEqual(kept.updates);
    expect([...updates.keys()]).toEqual(
      mode === "train" ? ["block.mean", "block.variance", "block.counter"] : [],
    );
  });

  it("an output that is also an inner value survives", () => {
    const both = graphOf((scope) => {
      const x = scope.input([1, 1, 2]);
      const positive = scope.relu(x);
      return { last: scope.add([positive, x]), positive, x };
    });
    const given = { shape: [1, 1, 1, 2], data: Float64Array.of(-1, 2) };
    const { outputs } = interpret(both, new Map(), given, { mode: "infer" });
    expect([...outputs].map(([name, { data }]) => [name, [...data]])).toEqual([
      ["last", [-1, 4]],
      ["positive", [0, 2]],
      ["x", [-1, 2]],
    ]);
  });
});

describe("step by step", () => {
  const graph = graphOf((scope) => {
    const x = scope.input([1, 1, 2]);
    scope.sigmoid(x); // no output depends on it
    return { y: scope.add([scope.relu(x), x]) };
  });
  const images = { shape: [1, 1, 1, 2], data: Float64Array.of(-1, 2) };

  it("names each node before it is computed, and ends with what `interpret` returns", () => {
    const computed: string[] = [];
    const run = interpretStepwise(graph, new Map(), images, {
      mode: "infer",
      onValue: ({ op }) => computed.push(op.kind),
    });
    const steps: [string, number][] = [];
    let step = run.next();
    for (; step.done !== true; step = run.next()) steps.push([step.value.op.kind, computed.length]);
    expect(steps).toEqual([
      ["input", 0],
      ["relu", 1],
      ["add", 2],
    ]);
    expect(step.value).toEqual(interpret(graph, new Map(), images, { mode: "infer" }));
  });
});

describe("an identity", () => {
  it("is the caller's own, who may write to it", () => {
    const graph = graphOf((scope) => scope.constant([2, 2, 1, 1], { kind: "identity" }));
    const identity = () =>
      interpret(graph, new Map(), undefined, { mode: "infer" }).outputs.get("y")!;
    identity().data.fill(7);
    const seen: number[][] = [];
    const onValue = (_: unknown, { data }: Tensor<Float64Array>) => seen.push([...data.fill(8)]);
    interpret(graph, new Map(), undefined, { mode: "infer", onValue });
    expect(seen).toEqual([[8, 8, 8, 8]]);
    expect([...identity().data]).toEqual([1, 0, 0, 1]);
  });
});

describe("feedImages", () => {
  it("runs a part of a graph on images of another size", () => {
    const whole = graphOf((scope) => {
      const x = scope.relu(scope.input([2, 8, 8]));
      return scope.add([x, scope.sigmoid(x)]);
    });
    const inner = whole.nodes.findIndex(({ op }) => op.kind === "relu");
    const part = feedImages(whole, inner, [2, 1, 1]);
    const given = { shape: [1, 2, 1, 1], data: Float64Array.of(-1, 0) };
    // Not what the ReLU would make of it.
    const { data } = interpret(part, new Map(), given, { mode: "infer" }).outputs.get("y")!;
    expect([...data]).toEqual([-1 + 1 / (1 + Math.E), 0.5]);
    expect(whole.nodes[inner]!.op.kind).toBe("relu");
  });
});

describe("flatten", () => {
  it("keeps the samples apart", () => {
    const graph = graphOf((scope) => scope.flatten(scope.input([2, 1, 2])));
    const data = Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    expect(run(graph, { images: { shape: [2, 2, 1, 2], data } }).y).toEqual({
      shape: [2, 4],
      data,
    });
  });
});
