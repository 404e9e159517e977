// What is known to go wrong underneath (docs/engines.md, "Traps"), each held by a test.

import { expect, it } from "@jest/globals";

import { conv, convBn, linear } from "../../../src/blocks/index.js";
import { TorchExecutable } from "../../../src/engine/torch/executable.js";
import type { Engine, Precision } from "../../../src/engine/types.js";
import { GraphBuilder, type Graph, type Scope, type Value } from "../../../src/graph/index.js";
import { failureOf } from "../../helpers/failures.js";
import { fillInput, filledState } from "../../helpers/fill.js";
import { describeTorch } from "../../helpers/torch-engine.js";

function graphOf(channels: number, size: number, build: (scope: Scope, x: Value) => Value): Graph {
  const scope = new GraphBuilder().root();
  return scope.builder.build({ y: build(scope, scope.input([channels, size, size])) });
}

/** Gradients and statistics of one batch in training mode, with sum(y * g) as the objective. */
async function differentiate(engine: Engine, graph: Graph, count: number, precision: Precision) {
  const executable = await engine.load(graph, filledState(graph), { precision });
  const [, ...image] = [count, ...graph.nodes[0]!.type.shape];
  const images = fillInput("input", [count, ...image]);
  const { type } = graph.nodes[graph.outputs[0]!.value]!;
  const outputGradient = fillInput("grad_output", [count, ...type.shape]);
  const result = await executable.differentiate(images, { outputGradient });
  await executable.dispose();
  return result;
}

describeTorch("torch traps", (engine) => {
  // oneDNN's channels_last weight gradient writes past its workspace there; NaN or a crash would show.
  it.each([3, 15])(
    "strided 1x1 convolution of %d channels: weight gradient",
    async (channels) => {
      const graph = graphOf(channels, 224, (scope, x) =>
        conv(scope, "conv", x, { out: 48, kernel: 1, stride: 2 }),
      );
      const exact = await differentiate(engine, graph, 8, "fp64");
      for (let time = 0; time < 3; time++) {
        const found = await differentiate(engine, graph, 8, "fp32");
        // Sums of 8 * 112 * 112 products, whose rounding grows like the root of their number.
        const relative = Math.sqrt(8 * 112 * 112) * 2 ** -24;
        expect(found.gradients.get("conv.weight")!).toBeCloseToTensor(
          exact.gradients.get("conv.weight")!,
          { relative },
        );
      }
    },
    60_000,
  );

  // ATen's own are a running float32 sum, wrong by 1e-3 here.
  it.each([0, 30])("statistics of 50 176 values per channel, mean %d", async (mean) => {
    const graph = graphOf(4, 56, (scope, x) => convBn(scope, "layer", x, { out: 64, kernel: 1 }));
    const state = filledState(graph);
    const images = fillInput("input", [16, 4, 56, 56]);
    const shifted = { ...images, data: images.data.map((value) => Math.max(value, 0) + mean) };
    const statistics = async (precision: Precision) => {
      const executable = await engine.load(graph, state, { precision });
      const y = fillInput("grad_output", [16, 64, 56, 56]);
      const { updates, outputs } = await executable.differentiate(shifted, { outputGradient: y });
      await executable.dispose();
      return { updates, y: outputs.get("y")! };
    };
    const exact = await statistics("fp64");
    const found = await statistics("fp32");
    // Of the convolution before it: 4 products, and their sum against a deviation far below the mean.
    const relative = 16 * 2 ** -24 * (1 + mean);
    for (const [name, tensor] of exact.updates) {
      if (name.endsWith("_tracked")) continue;
      expect(found.updates.get(name)!).toBeCloseToTensor(tensor, { relative });
    }
    expect(found.y).toBeCloseToTensor(exact.y, { relative });
  });

  it("one thread and a small batch: 1x1 convolutions go to oneDNN, not through im2col", async () => {
    const graph = graphOf(32, 16, (scope, x) => {
      const y = conv(scope, "conv", x, { out: 32, kernel: 1 });
      return linear(scope, "linear", scope.flatten(scope.globalAvgPool(y)), 5);
    });
    const executable = await engine.load(graph, filledState(graph), { threads: 1, training: {} });
    if (!(executable instanceof TorchExecutable)) throw new Error("not the torch engine");
    const rows = await executable.profile({
      images: fillInput("input", [4, 32, 16, 16]),
      labels: Int32Array.of(0, 1, 2, 3),
    });
    await executable.dispose();
    const names = rows.map(({ name }) => name);
    expect(names.filter((name) => name.includes("slow_conv"))).toEqual([]);
    expect(names.filter((name) => name.includes("convolution")).length).toBeGreaterThan(0);
  });

  it("an allocation beyond the machine's memory is an error, and the executable lives on", async () => {
    // 128 x 2^19 x 64 x 64 floats: 1.1 TB.
    const [count, channels, size] = [128, 2 ** 19, 64];
    const graph = graphOf(1, size, (scope, x) =>
      scope.globalAvgPool(conv(scope, "conv", x, { out: channels, kernel: 1 })),
    );
    const executable = await engine.load(graph, filledState(graph));
    const images = { shape: [count, size, size, 1], data: new Uint8Array(count * size * size) };
    const failure = await failureOf(() => executable.infer(images));
    expect(failure.kind).toBe("environment");
    expect(failure.message).toMatch(/memory/);
    expect((await executable.state()).state.get("conv.weight")!.data).toHaveLength(channels);
    await executable.dispose();
  });
});
