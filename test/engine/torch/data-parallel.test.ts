// Training of several processes together: what they reach is what one process reaches.

import { describe, expect, it } from "@jest/globals";

import { buildBlock, convSpec, linear, orepaBlock } from "../../../src/blocks/index.js";
import type {
  BatchResult,
  Executable,
  LoadOptions,
  ProcessGroup,
  TrainingOptions,
} from "../../../src/engine/types.js";
import {
  elementCount,
  type Graph,
  GraphBuilder,
  parametersOf,
  type State,
  type Tensor,
  toFloat64,
} from "../../../src/graph/index.js";
import { failureOf } from "../../helpers/failures.js";
import { filledState } from "../../helpers/fill.js";
import { inGroup } from "../../helpers/process-group.js";
import { describeTorch } from "../../helpers/torch-engine.js";
import {
  CLASSES,
  classLabels,
  floatImages,
  IMAGE,
  smallNetwork,
  softLabels,
} from "../conformance/small-networks.js";

const IMAGES = 32;
const STEPS = 10;
const training: TrainingOptions = {
  nesterov: true,
  settings: ({ name }) => ({ weightDecay: name.endsWith("bias") ? 0 : 0.01 }),
};

describeTorch("data-parallel training", (engine) => {
  const load = (group: ProcessGroup | undefined, graph: Graph, options: LoadOptions = {}) =>
    engine.load(graph, filledState(graph), {
      training,
      threads: 1,
      ...options,
      ...(group === undefined ? {} : { group }),
    });

  /** Ten steps on the same images, whoever has them; the mean loss of each, and the state in the end. */
  async function train(worldSize: number, graph: Graph, options: LoadOptions, isSoft = false) {
    const steps = async (network: Executable, rank: number) => {
      const losses: number[] = [];
      for (let s = 0; s < STEPS; s++) {
        const batch = share(wholeBatch(s, isSoft), rank, worldSize);
        losses.push((await network.trainStep(batch, { learningRate: 0.05 })).loss);
      }
      return { losses, state: await network.state() };
    };
    const ranks =
      worldSize === 1
        ? [await steps(await load(undefined, graph, options), 0)]
        : await inGroup(engine, worldSize, async (group) =>
            steps(await load(group, graph, options), group.rank),
          );
    for (const { state } of ranks) expectSameParameters(state.state, ranks[0]!.state.state, graph);
    const losses = Array.from({ length: STEPS }, (_, s) => mean(ranks.map((r) => r.losses[s]!)));
    return { losses, ...ranks[0]!.state };
  }

  describe.each<{ what: string; graph: Graph; options?: LoadOptions; isSoft?: boolean }>([
    { what: "plain", graph: smallNetwork({ batchNorm: false }) },
    {
      what: "with heads, penalties, clipping and an average",
      graph: smallNetwork({ batchNorm: false, auxiliary: true, penalty: "squares" }),
      options: {
        checkFinite: true,
        training: { ...training, penaltyWeight: 0.01, clipNorm: 0.5, emaDecay: 0.9 },
      },
    },
    {
      what: "with smoothed soft labels",
      graph: smallNetwork({ batchNorm: false }),
      options: { training: { labelSmoothing: 0.1 } },
      isSoft: true,
    },
  ])("without batch statistics, $what", ({ graph, options = {}, isSoft }) => {
    it.each([
      ["fp32", 1e-5],
      ["fp64", 1e-12],
    ] as const)("1 x 32, 2 x 16 and 4 x 8 are the same in %s", async (precision, tolerance) => {
      const one = await train(1, graph, { ...options, precision }, isSoft);
      for (const worldSize of [2, 4]) {
        const many = await train(worldSize, graph, { ...options, precision }, isSoft);
        expect(distance(many.losses, one.losses)).toBeLessThan(tolerance);
        expect(stateDistance(many.state, one.state)).toBeLessThan(tolerance);
        expect(stateDistance(many.momentum, one.momentum)).toBeLessThan(tolerance);
        if (one.ema !== undefined) {
          expect(stateDistance(many.ema!, one.ema)).toBeLessThan(tolerance);
        }
      }
      // They went somewhere.
      expect(stateDistance(one.state, filledState(graph))).toBeGreaterThan(100 * tolerance);
    });
  });

  it.each([
    ["batch norms", smallNetwork()],
    ["kernels as expressions", orepaNetwork()],
    ["a penalty on both", smallNetwork({ penalty: "customL2" })],
  ])("with %s, ranks have their own statistics and the mean of the gradients", async (_, graph) => {
    const learningRate = 0.1;
    const options: LoadOptions = {
      precision: "fp64",
      training: { momentum: 0, penaltyWeight: 0.1 },
    };
    const before = filledState(graph);
    const ranks = await inGroup(engine, 2, async (group) => {
      const network = await load(group, graph, options);
      const batch = share(wholeBatch(0), group.rank, 2);
      const { gradients, updates } = await network.differentiate(batch.images, batch);
      await network.trainStep(batch, { learningRate });
      return { gradients, updates, state: (await network.state()).state };
    });
    for (const { state, updates } of ranks) {
      expectSameParameters(state, ranks[0]!.state, graph);
      for (const [name, value] of updates)
        expect(distance([...numbers(state.get(name))], [...numbers(value)])).toBeLessThan(1e-12);
      for (const name of ranks[0]!.gradients.keys()) {
        const [a, b] = ranks.map(({ gradients }) => numbers(gradients.get(name)));
        const expected = [...numbers(before.get(name))].map(
          (p, i) => p - (learningRate * (a![i]! + b![i]!)) / 2,
        );
        expect(distance([...numbers(state.get(name))], expected)).toBeLessThan(1e-12);
      }
    }
    const means = ranks.map(
      ({ state }) => [...state].find(([name]) => name.endsWith("running_mean"))![1],
    );
    expect(means[0]).not.toEqual(means[1]);
  });

  it("all begin with rank 0's state", async () => {
    const graph = smallNetwork();
    const states = await inGroup(engine, 2, async (group) => {
      const own = new Map([...filledState(graph)].map(([name, t]) => [name, plus(t, group.rank)]));
      const network = await engine.load(graph, own, { group, training: { emaDecay: 0.5 } });
      return network.state();
    });
    expect(states[1]).toEqual(states[0]);
    expect(numbers(states[1]!.state.get("linear.bias"))).toEqual(
      numbers(filledState(graph).get("linear.bias")),
    );
  });

  it("what is accumulated travels once, with the update", async () => {
    const graph = smallNetwork({ batchNorm: false, penalty: "squares" });
    const options: LoadOptions = { precision: "fp64", training: { penaltyWeight: 0.01 } };
    const steps = async (
      network: Executable,
      worldSize: number,
      rank: number,
      count: () => number,
    ) => {
      const sent: number[] = [];
      for (let s = 0; s < 4; s++) {
        const batch = share(wholeBatch(s), rank, worldSize);
        const update = s % 2 === 1;
        await network.trainStep(batch, { learningRate: 0.1, update, gradientScale: 0.5 });
        sent.push(count());
      }
      return { sent, state: (await network.state()).state };
    };
    const one = await steps(await load(undefined, graph, options), 1, 0, () => 0);
    const two = await inGroup(engine, 2, async (group) =>
      steps(await load(group, graph, options), 2, group.rank, () => group.statistics().steps),
    );
    for (const { sent, state } of two) {
      expect(sent).toEqual([0, 1, 1, 2].map((_, s) => Math.floor((s + 1) / 2)));
      expect(stateDistance(state, one.state)).toBeLessThan(1e-12);
    }
  });

  it("a step's bytes are those of the gradients, and how the ranks fared", async () => {
    const graph = smallNetwork();
    const all = await inGroup(engine, 2, async (group) => {
      const network = await load(group, graph);
      for (let s = 0; s < 3; s++) {
        await network.trainStep(share(wholeBatch(s), group.rank, 2), { learningRate: 0.1 });
      }
      return group.statistics();
    });
    const values = parametersOf(graph)
      .filter(({ role }) => role === "param")
      .reduce((sum, { shape }) => sum + elementCount(shape), 0);
    for (const { steps, bytes, buckets, communicationSeconds, waitedSeconds } of all) {
      expect([steps, buckets, bytes]).toEqual([3, 3, 3 * 4 * (values + 3)]);
      expect(communicationSeconds).toBeGreaterThan(0);
      expect(waitedSeconds).toBeGreaterThanOrEqual(0);
    }
  });

  it.each([true, false])(
    "a loss that is not finite ends the step in all ranks, before the update (at once: %s)",
    async (isAtOnce) => {
      const graph = smallNetwork();
      const states = await inGroup(engine, 3, async (group) => {
        const network = await load(group, graph, { checkFinite: true });
        const good = share(wholeBatch(0), group.rank, 3);
        const bad = { ...good, images: { ...good.images, data: good.images.data.map(() => NaN) } };
        const first = group.rank === 1 ? bad : good;
        const before = await network.state();
        if (isAtOnce) {
          const error = await failureOf(() => network.trainStep(first, { learningRate: 0.1 }));
          expect([error.kind, error.message]).toEqual([
            "diverged",
            "torch engine: loss is not finite (rank 1)",
          ]);
          expect(await network.state()).toEqual(before);
        } else {
          await network.trainStep(first, { learningRate: 0.1, update: false });
          const error = await failureOf(() => network.trainStep(good, { learningRate: 0.1 }));
          expect(error.kind).toBe("diverged");
        }
        expectSameParameters((await network.state()).state, before.state, graph);
        // Nothing is left over.
        await network.trainStep(good, { learningRate: 0.1 });
        return (await network.state()).state;
      });
      for (const state of states) expectSameParameters(state, states[0]!, graph);
      expect(states[0]).not.toEqual(filledState(graph));
    },
  );

  it("processes that load different graphs all hear of it", async () => {
    await inGroup(engine, 2, async (group) => {
      const graph = smallNetwork({ classes: CLASSES + group.rank });
      const error = await failureOf(() => load(group, graph));
      expect([error.kind, error.message]).toEqual([
        "usage",
        "torch engine: the processes of the group load different graphs",
      ]);
    });
  });

  it("a rank that leaves ends the others' steps, and evaluation goes on", async () => {
    const graph = smallNetwork();
    await inGroup(engine, 2, async (group) => {
      const network = await load(group, graph);
      const batch = share(wholeBatch(0), group.rank, 2);
      await network.trainStep(batch, { learningRate: 0.1 });
      if (group.rank === 1) return group.close();
      const error = await failureOf(() => network.trainStep(batch, { learningRate: 0.1 }));
      expect(error.kind).toBe("environment");
      expect((await failureOf(() => network.trainStep(batch, { learningRate: 0.1 }))).kind).toBe(
        "environment",
      );
      expect((await network.evaluate(batch)).loss).toBeGreaterThan(0);
      await network.dispose();
    });
  });

  it("several executables of one group do not disturb each other", async () => {
    const graph = smallNetwork({ batchNorm: false });
    const results = await inGroup(engine, 2, async (group) => {
      const networks = [await load(group, graph), await load(group, graph)];
      const batch = share(wholeBatch(0), group.rank, 2);
      const steps = networks.flatMap((network, i) =>
        [0, 1].map(() => network.trainStep(batch, { learningRate: 0.1 * (i + 1) })),
      );
      const sums = group.allReduce(Float64Array.of(1));
      const losses = (await Promise.all(steps)).map(({ loss }: BatchResult) => loss);
      expect(await sums).toEqual(Float64Array.of(2));
      return losses;
    });
    for (const [a, b, c, d] of results) expect([a === c, b === d]).toEqual([true, false]);
  });

  it("a group of something else is refused", async () => {
    const group = { rank: 0, worldSize: 1, backend: "gloo" } as ProcessGroup;
    expect((await failureOf(() => load(group, smallNetwork()))).kind).toBe("usage");
  });
});

function orepaNetwork(): Graph {
  const builder = new GraphBuilder();
  const scope = builder.root();
  const images = scope.input(IMAGE, { mean: [0, 0, 0], std: [1, 1, 1] });
  const spec = convSpec({ out: 8, kernel: 3 });
  const x = scope.relu(
    buildBlock(orepaBlock(), scope.child("block"), images, spec, { structure: "train" }),
  );
  const logits = linear(scope, "linear", scope.flatten(scope.globalAvgPool(x)), CLASSES);
  return builder.build({ logits });
}

function wholeBatch(step: number, isSoft = false) {
  const name = `step ${step}`;
  return {
    images: floatImages(name, IMAGES),
    labels: isSoft ? softLabels(name, IMAGES) : classLabels(IMAGES),
  };
}

/** A rank's images: as many for each, in order. */
function share<L extends Int32Array | Tensor>(
  { images, labels }: { images: Tensor<Float32Array>; labels: L },
  rank: number,
  worldSize: number,
) {
  const count = Math.floor(IMAGES / worldSize);
  const rows = <T extends Tensor["data"] | Int32Array>(data: T) => {
    const width = data.length / IMAGES;
    return data.slice(rank * count * width, (rank + 1) * count * width) as T;
  };
  const part = <T extends Tensor>(tensor: T) => ({
    ...tensor,
    shape: [count, ...tensor.shape.slice(1)],
    data: rows(tensor.data),
  });
  return {
    images: part(images),
    labels: labels instanceof Int32Array ? rows(labels) : part(labels),
  };
}

function plus(tensor: Tensor, amount: number): Tensor {
  const { data } = tensor;
  if (data instanceof BigInt64Array) {
    return { ...tensor, data: data.map((value) => value + BigInt(amount)) };
  }
  return { ...tensor, data: data.map((value: number) => value + amount) };
}

function numbers(tensor: Tensor | undefined): Float64Array {
  if (tensor === undefined) throw new Error("no such tensor");
  return toFloat64(tensor).data;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The largest difference, relative to the largest number. */
function distance(actual: readonly number[], expected: readonly number[]): number {
  expect(actual).toHaveLength(expected.length);
  const size = Math.max(...expected.map(Math.abs), 1e-3);
  return Math.max(...actual.map((value, i) => Math.abs(value - expected[i]!) / size));
}

function stateDistance(actual: State, expected: State): number {
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  return Math.max(
    ...[...expected].map(([name, tensor]) =>
      distance([...numbers(actual.get(name))], [...numbers(tensor)]),
    ),
  );
}

/** Bit for bit; buffers are each rank's own. */
function expectSameParameters(actual: State, expected: State, graph: Graph): void {
  for (const { name, role } of parametersOf(graph)) {
    if (role === "param") expect([name, actual.get(name)]).toEqual([name, expected.get(name)]);
  }
}
