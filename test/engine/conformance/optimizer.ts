// Steps of SGD against its formula in float64, from the gradients that the engine gives.

import { describe, expect, it } from "@jest/globals";

import type { Executable, TrainingOptions } from "../../../src/engine/types.js";
import {
  type Float64Tensor,
  type Graph,
  parametersOf,
  type State,
  type Tensor,
  toFloat64,
} from "../../../src/graph/index.js";
import { filledState } from "../../helpers/fill.js";
import { distance, norm } from "./distances.js";
import { CLASSES, classLabels, floatImages, smallNetwork } from "./small-networks.js";
import { load, ROUNDOFF, type Subject, subjectName } from "./subject.js";

/** Three steps, each of which rounds a handful of numbers on the way into a parameter, and sums; see blocks.ts. */
const SUMS = 64;

const COUNT = 6;
const LEARNING_RATES = [0.1, 0.03, 0.2];

/** As the recipes do it: twice the rate and no decay for biases, no decay for batch norms. */
const settings: NonNullable<TrainingOptions["settings"]> = ({ name, decay }) => ({
  lrMultiplier: name.endsWith("bias") ? 2 : 1,
  weightDecay: decay === "kernel" ? 0.05 : 0,
});

export function describeOptimizer(subject: Subject): void {
  const close = { relative: SUMS * ROUNDOFF[subject.precision] };
  const batch = (s: number) => ({
    images: floatImages(`step ${s}`, COUNT),
    labels: classLabels(COUNT),
  });
  const start = (graph: Graph, training: TrainingOptions) =>
    load(subject, graph, filledState(graph), { training });

  describe(`SGD (${subjectName(subject)})`, () => {
    it.each<{ what: string; training: TrainingOptions }>([
      { what: "without momentum", training: { momentum: 0 } },
      { what: "with momentum 0.9, the default", training: {} },
      { what: "with Nesterov", training: { momentum: 0.8, nesterov: true } },
      { what: "with decay and multipliers", training: { settings } },
      { what: "with all of that", training: { momentum: 0.7, nesterov: true, settings } },
    ])("$what", async ({ training }) => {
      const graph = smallNetwork();
      const network = await start(graph, training);
      const model = new SgdByHand(graph, filledState(graph), training);
      for (const [s, learningRate] of LEARNING_RATES.entries()) {
        const { images, labels } = batch(s);
        const { gradients, updates } = await network.differentiate(images, { labels });
        await network.trainStep({ images, labels }, { learningRate });
        model.step(gradients, learningRate);
        const { state, momentum } = await network.state();
        expectState(state, model.parameters, close);
        expectState(state, withoutConstants(updates, graph), close);
        expectState(momentum, model.velocities, close);
      }
      await network.dispose();
    });

    it("a rate of zero moves running statistics and nothing else", async () => {
      const graph = smallNetwork();
      const network = await start(graph, {});
      await network.trainStep(batch(0), { learningRate: 0 });
      const { state } = await network.state();
      await network.dispose();
      const before = filledState(graph);
      for (const { name, role } of parametersOf(graph)) {
        const same = distance(state.get(name)!, before.get(name)!) === 0;
        expect([name, same]).toEqual([name, role === "param"]);
      }
    });

    it("adds up gradients: two halves are a whole", async () => {
      // Batch norm would tell halves apart, so there is none.
      const graph = smallNetwork({ batchNorm: false, penalty: "squares" });
      const training = { settings, penaltyWeight: 0.1 };
      const [whole, halves] = [await start(graph, training), await start(graph, training)];
      for (const [s, learningRate] of LEARNING_RATES.entries()) {
        const { images, labels } = batch(s);
        const { loss } = await whole.trainStep({ images, labels }, { learningRate });
        const parts = [0, 1].map((half) => ({
          images: slice(images, half),
          labels: labels.subarray((half * COUNT) / 2, ((half + 1) * COUNT) / 2),
        }));
        const before = await halves.state();
        const gradientScale = 0.5;
        const first = await halves.trainStep(parts[0]!, {
          learningRate,
          gradientScale,
          update: false,
        });
        const between = await halves.state();
        for (const [name, tensor] of before.state) {
          expect([name, distance(between.state.get(name)!, tensor)]).toEqual([name, 0]);
        }
        const second = await halves.trainStep(parts[1]!, { learningRate, gradientScale });
        const mean = Float64Array.of((first.loss + second.loss) / 2);
        expect({ shape: [], data: mean }).toBeCloseToTensor(
          { shape: [], data: Float64Array.of(loss) },
          close,
        );
        expectState((await halves.state()).state, (await whole.state()).state, close);
      }
      await whole.dispose();
      await halves.dispose();
    });

    it("scales gradients down to a norm over all parameters, before decay", async () => {
      const graph = smallNetwork();
      const { images, labels } = batch(0);
      const gradientOf = async (network: Executable) =>
        (await network.differentiate(images, { labels })).gradients;
      const plain = await start(graph, {});
      const total = totalNorm(await gradientOf(plain));
      await plain.dispose();
      // The limit, and what the norm comes to.
      for (const [clipNorm, expected] of [
        [total / 4, total / 4],
        [total * 4, total],
      ] as const) {
        const network = await start(graph, { clipNorm, momentum: 0 });
        const gradients = await gradientOf(network);
        const before = (await network.state()).state;
        await network.trainStep({ images, labels }, { learningRate: 1 });
        const after = (await network.state()).state;
        await network.dispose();
        for (const [name, gradient] of gradients) {
          const moved = minus(before.get(name)!, after.get(name)!);
          // PyTorch divides by the norm + 1e-6, a millionth here. What has moved is known as well as
          // the parameter, whose size is about one.
          const share = expected / total;
          expect(moved).toBeCloseToTensor(times(gradient, share), {
            relative: 1e-5 + close.relative,
            absolute: close.relative,
          });
        }
      }
    });

    it("averages the state after each update", async () => {
      const graph = smallNetwork();
      const emaDecay = 0.75;
      const network = await start(graph, { emaDecay });
      const average = new Map(
        [...filledState(graph)].map(([name, tensor]) => [name, toFloat64(tensor)]),
      );
      const steps = [{ update: true }, { update: false }, { update: true }];
      for (const [s, { update }] of steps.entries()) {
        await network.trainStep(batch(s), { learningRate: 0.1, update });
        const { state, ema } = await network.state();
        for (const { name, dtype } of parametersOf(graph)) {
          if (dtype === "i64") continue;
          const mean = average.get(name)!;
          if (update) {
            const now = toFloat64(state.get(name)!);
            const data = mean.data.map((x, i) => emaDecay * x + (1 - emaDecay) * now.data[i]!);
            average.set(name, { shape: mean.shape, data });
          }
          expect(ema!.get(name)!).toBeCloseToTensor(average.get(name)!, close);
        }
      }
      await network.dispose();
    });
  });
}

/** p and v as PyTorch defines them, in float64. */
class SgdByHand {
  readonly parameters = new Map<string, Float64Tensor>();
  readonly velocities = new Map<string, Float64Tensor>();
  readonly #graph: Graph;
  readonly #options: TrainingOptions;

  constructor(graph: Graph, state: State, options: TrainingOptions) {
    this.#graph = graph;
    this.#options = options;
    for (const { name, role } of parametersOf(graph)) {
      if (role === "param") this.parameters.set(name, toFloat64(state.get(name)!));
    }
  }

  step(gradients: ReadonlyMap<string, Tensor>, learningRate: number): void {
    const { momentum = 0.9, nesterov = false, settings } = this.#options;
    for (const op of parametersOf(this.#graph)) {
      const p = this.parameters.get(op.name);
      if (p === undefined) continue;
      const { lrMultiplier = 1, weightDecay = 0 } = settings?.(op) ?? {};
      const g = plus(toFloat64(gradients.get(op.name)!), times(p, weightDecay));
      const known = this.velocities.get(op.name);
      const v = known === undefined ? g : plus(times(known, momentum), g);
      this.velocities.set(op.name, v);
      const direction = nesterov ? plus(g, times(v, momentum)) : v;
      this.parameters.set(op.name, plus(p, times(direction, -learningRate * lrMultiplier)));
    }
  }
}

/** Everything in `expected` is in `found`, and close. */
function expectState(
  found: ReadonlyMap<string, Tensor>,
  expected: ReadonlyMap<string, Tensor>,
  close: { relative: number },
): void {
  for (const [name, tensor] of expected) {
    const own = found.get(name);
    expect([name, own?.shape]).toEqual([name, tensor.shape]);
    expect(own).toBeCloseToTensor(tensor, close);
  }
}

/** What a step may have changed beside the trained parameters. */
function withoutConstants(updates: State, graph: Graph): State {
  const buffers = new Set(
    parametersOf(graph).flatMap(({ name, role }) => (role === "buffer" ? [name] : [])),
  );
  const found = new Map([...updates].filter(([name]) => buffers.has(name)));
  expect(found.size).toBe(6); // two batch norms of three buffers each
  return found;
}

function slice({ shape, data }: Tensor<Float32Array>, half: number): Tensor {
  const length = data.length / 2;
  return {
    shape: [COUNT / 2, ...shape.slice(1)],
    data: data.slice(half * length, (half + 1) * length),
  };
}

function totalNorm(gradients: ReadonlyMap<string, Tensor>): number {
  expect(gradients.get("linear.bias")?.shape).toEqual([CLASSES]);
  return Math.hypot(...[...gradients.values()].map(norm));
}

function plus(a: Float64Tensor, b: Float64Tensor): Float64Tensor {
  return { shape: a.shape, data: a.data.map((value, i) => value + b.data[i]!) };
}

function minus(a: Tensor, b: Tensor): Float64Tensor {
  return plus(toFloat64(a), times(b, -1));
}

function times(a: Tensor, factor: number): Float64Tensor {
  const { shape, data } = toFloat64(a);
  return { shape, data: data.map((value) => value * factor) };
}
