// Batch norms inserted into deployed models: nothing changes, and the statistics are the images' own.

import { describe, expect, it } from "@jest/globals";

import type { Engine } from "../../src/engine/types.js";
import {
  type Float64Tensor,
  type Graph,
  type Images,
  elementCount,
  initialTensor,
  interpret,
  parametersOf,
  type State,
  type StateSource,
  type Tensor,
  toFloat32,
} from "../../src/graph/index.js";
import { insertBatchNorm } from "../../src/train/insert-bn.js";
import { buildModel, type Model } from "../../src/zoo/index.js";
import { expectSameState } from "../checkpoint/models.js";
import { failureOf } from "../helpers/failures.js";
import { fillUniform, filledState } from "../helpers/fill.js";
import { relativeDifference } from "../helpers/folding.js";
import { interpreterEngine } from "../helpers/interpreter-engine.js";
import { describeTorch } from "../helpers/torch-engine.js";

const SIZE = 32;
const FP64 = { precision: "fp64" } as const;

function deployedModel(arch: string, block: string) {
  const model = buildModel({ arch, block, structure: "deploy", numClasses: 5, imageSize: SIZE });
  return { path: "W.ckpt", model, state: lively(filledState(model.graph)) };
}

/** With kernels large enough (He et al., 2015) that images still differ after the last of many layers. */
function lively(state: State): State {
  const gain = Math.SQRT2 / 0.7;
  for (const [name, tensor] of state) {
    const { shape, data } = toFloat32(tensor);
    if (shape.length === 4) state.set(name, { shape, data: data.map((value) => value * gain) });
  }
  return state;
}

function pixels(name: string, count: number): { shape: readonly number[]; data: Uint8Array } {
  const u = fillUniform(name);
  const shape = [count, SIZE, SIZE, 3];
  const data = Uint8Array.from({ length: count * SIZE * SIZE * 3 }, (_, i) => 256 * u(i));
  return { shape, data };
}

/** Batches of these sizes, and what is taken and released. */
function source(sizes: readonly number[]) {
  const log: string[] = [];
  async function* batches() {
    try {
      for (const [index, size] of sizes.entries()) {
        log.push(`take ${index}`);
        await Promise.resolve();
        yield {
          images: pixels(`batch ${index}`, size),
          release: () => void log.push(`release ${index}`),
        };
      }
    } finally {
      log.push("end");
    }
  }
  return { batches: batches(), log };
}

/** The images of those batches, as one batch. */
function imagesOf(sizes: readonly number[]): Images {
  const all = sizes.map((size, index) => pixels(`batch ${index}`, size));
  const count = sizes.reduce((sum, size) => sum + size, 0);
  const data = new Uint8Array(Buffer.concat(all.map((batch) => batch.data)));
  return { shape: [count, SIZE, SIZE, 3], data };
}

/** The outputs that a deployed model has too. */
function logits(graph: Graph, state: StateSource, images: Images) {
  const main = { ...graph, outputs: graph.outputs.filter(({ name }) => name === "logits") };
  return interpret(main, state, images, { mode: "infer" }).outputs;
}

const rounded = (state: State): State =>
  new Map([...state].map(([name, tensor]) => [name, roundedTensor(name, tensor)]));
const roundedTensor = (name: string, tensor: Tensor) =>
  name.endsWith("num_batches_tracked") ? tensor : toFloat32(tensor);

describe.each([
  ["MobileNet", "DBB"],
  // With shortcuts.
  ["ResNet-18", "OREPA"],
])("batch norms in a deployed %s x %s", (arch, block) => {
  const deployed = deployedModel(arch, block);
  const { model: before, state: weights } = deployed;
  const sizes = [1, 1];
  const inserted = insertBatchNorm({
    ...{ deployed, engine: interpreterEngine, load: FP64, seed: 1 },
    batches: source(sizes).batches,
  });

  it("make a model of block base that computes the same", async () => {
    const { model, state, images, notes } = await inserted;
    expect(model).toMatchObject({ arch, block: "base", structure: "train", numClasses: 5 });
    expect([...state.keys()]).toEqual(parametersOf(model.graph).map(({ name }) => name));
    expect({ images, notes }).toEqual({ images: 2, notes: [] });
    const test = pixels("test", 1);
    const expected = logits(before.graph, weights, test);
    expect(relativeDifference(logits(model.graph, state, test), expected)).toBeLessThan(1e-10);
    // Rounded as checkpoints and engines do.
    const difference = relativeDifference(logits(model.graph, rounded(state), test), expected);
    expect(difference).toBeLessThan(2e-6);
  });

  it("have the statistics of all images together, of what stands before the bias", async () => {
    const { model, state } = await inserted;
    const direct = directStatistics(before, weights, imagesOf(sizes));
    const layers = model.layers.map(({ scope }) => scope);
    expect([...direct.keys()]).toEqual(layers);
    for (const [scope, { mean, variance, bias }] of direct) {
      const of = (name: string) => state.get(`${scope}.bn.${name}`)!;
      expect(of("running_mean")).toBeCloseToTensor(mean, { relative: 1e-12 });
      expect(of("running_var")).toBeCloseToTensor(variance, { relative: 1e-12 });
      expect(of("weight")).toBeCloseToTensor(
        mapped(variance, (value) => Math.sqrt(value + 1e-5)),
        { relative: 1e-12 },
      );
      expect(of("bias")).toBeCloseToTensor(
        mapped(mean, (value, i) => value + bias.data[i]!),
        { relative: 1e-12 },
      );
      expect(of("num_batches_tracked").data).toEqual(BigInt64Array.of(0n));
    }
  });
});

const mapped = (
  { shape, data }: Float64Tensor,
  value: (old: number, i: number) => number,
): Float64Tensor => ({
  shape,
  data: data.map(value),
});

/** By layer: two passes over what the deployed convolutions compute with their biases set to zero. */
function directStatistics({ graph, layers }: Model, state: State, images: Images) {
  const result = new Map<string, Record<"mean" | "variance" | "bias", Float64Tensor>>();
  const scopes = new Set(layers.map(({ scope }) => scope));
  interpret(graph, state, images, {
    mode: "infer",
    onValue({ op, name }, { shape, data }) {
      const scope = name.split(".").slice(0, -1).join(".");
      if (op.kind !== "conv2d" || !scopes.has(scope)) return;
      const [count = 0, channels = 0, height = 0, width = 0] = shape;
      const bias = Float64Array.from(state.get(`${name}.bias`)!.data as Float32Array);
      const plain = Array.from({ length: channels }, (_, channel) => {
        const values: number[] = [];
        for (let image = 0; image < count; image++) {
          const start = (image * channels + channel) * height * width;
          for (let i = 0; i < height * width; i++) values.push(data[start + i]! - bias[channel]!);
        }
        return values;
      });
      const average = (values: readonly number[]) =>
        values.reduce((sum, value) => sum + value, 0) / values.length;
      const mean = Float64Array.from(plain, average);
      const variance = Float64Array.from(plain, (values, channel) =>
        average(values.map((value) => (value - mean[channel]!) ** 2)),
      );
      const tensor = (values: Float64Array) => ({ shape: [channels], data: values });
      result.set(scope, { mean: tensor(mean), variance: tensor(variance), bias: tensor(bias) });
    },
  });
  return result;
}

describe("training images", () => {
  const deployed = deployedModel("MobileNet", "base");
  const common = { deployed, engine: interpreterEngine, load: FP64, seed: 1 };

  it("are needed", async () => {
    expect(await failureOf(() => insertBatchNorm({ ...common, ...source([]) }))).toMatchObject({
      kind: "file",
      message: "W.ckpt: --insert-bn needs training images, and there are none",
    });
  });

  it("are released when the engine fails, which is disposed of", async () => {
    const { batches, log } = source([1, 1]);
    const engine: Pick<Engine, "load"> = {
      load: async (...given: Parameters<Engine["load"]>) => ({
        ...(await interpreterEngine.load(...given)),
        infer: () => Promise.reject(new Error("no memory")),
        dispose: async () => void (await Promise.resolve(log.push("dispose"))),
      }),
    };
    await expect(insertBatchNorm({ ...common, engine, batches })).rejects.toThrow("no memory");
    expect(log).toEqual(["take 0", "release 0", "end", "dispose"]);
  });

  it("must not make the model overflow", async () => {
    const state: State = new Map(deployed.state);
    const name = "stem.2.depthwise.conv.bias";
    const bias = toFloat32(state.get(name)!);
    state.set(name, { shape: bias.shape, data: bias.data.with(3, NaN) });
    const broken = { ...deployed, state };
    const { batches } = source([1]);
    expect(
      await failureOf(() => insertBatchNorm({ ...common, deployed: broken, batches })),
    ).toMatchObject({
      kind: "file",
      message: "W.ckpt: stem.2.depthwise.conv computes values that are not finite",
    });
  });
});

it("what a deployed model does not have starts anew, and is said", async () => {
  const options = { arch: "RepVGGplus-L2pse", block: "RepVGGplus", numClasses: 5, imageSize: SIZE };
  const model = buildModel({ ...options, structure: "deploy" });
  // The architecture is large and its function is tried elsewhere: its weights are 0, its values 1.
  const zeros: State = new Map(
    parametersOf(model.graph).map(({ name, shape }) => [
      name,
      { shape, data: new Float32Array(elementCount(shape)) },
    ]),
  );
  const engine: Pick<Engine, "load"> = { load: (graph) => Promise.resolve(onesOf(graph)) };
  const deployed = { path: "W.ckpt", model, state: zeros };
  const { batches } = source([1]);
  const found = await insertBatchNorm({ deployed, engine, batches, seed: 3 });
  expect(found.notes).toEqual([
    "auxiliary heads start anew: stage1_aux, stage2_aux, stage3_first_aux",
  ]);
  const heads = parametersOf(found.model.graph).filter(({ name }) => name.includes("_aux."));
  expect(heads).toHaveLength(24);
  expectSameState(found.state, new Map(heads.map((op) => [op.name, initialTensor(op, 3)])));
  // Squeeze-and-excitation has no batch norms in either.
  const gate = "stage1.blocks.0.post_se.down.bias";
  expect(found.state.get(gate)).toBe(zeros.get(gate));
});

describeTorch("batch norms inserted with the torch engine", (engine) => {
  it("change the logits by rounding alone", async () => {
    const deployed = deployedModel("MobileNet", "DBB");
    const { batches } = source([4, 3]);
    const found = await insertBatchNorm({ deployed, engine, batches, seed: 1, heldBytes: 2 ** 21 });
    expect(found.images).toBe(7);
    const before = await engine.load(deployed.model.graph, deployed.state);
    const after = await engine.load(found.model.graph, rounded(found.state));
    const images = pixels("test", 2);
    const [expected, actual] = await Promise.all([before.infer(images), after.infer(images)]);
    await Promise.all([before.dispose(), after.dispose()]);
    expect(actual.outputs.get("logits")).toBeCloseToTensor(expected.outputs.get("logits")!, {
      relative: 1e-5,
    });
    const direct = directStatistics(deployed.model, deployed.state, imagesOf([4, 3]));
    for (const [scope, { mean, variance }] of direct) {
      const of = (name: string) => found.state.get(`${scope}.bn.${name}`)!;
      expect(of("running_mean")).toBeCloseToTensor(mean, { relative: 1e-4 });
      expect(of("running_var")).toBeCloseToTensor(variance, { relative: 1e-4 });
    }
  });
});

function onesOf(graph: Graph): Awaited<ReturnType<Engine["load"]>> {
  const unused = () => Promise.reject(new Error("not used"));
  return {
    infer: async (images, { values = [] } = {}) => {
      await Promise.resolve();
      const ones = (id: number): [number, Tensor] => {
        const shape = [images.shape[0]!, ...graph.nodes[id]!.type.shape];
        return [id, { shape, data: new Float32Array(elementCount(shape)).fill(1) }];
      };
      return { outputs: new Map(), values: new Map(values.map(ones)) };
    },
    ...{ evaluate: unused, trainStep: unused, differentiate: unused, state: unused },
    restore: unused,
    dispose: () => Promise.resolve(),
  };
}
