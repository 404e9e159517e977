// Where training starts: fresh, or from a file's weights, with what could not be taken over said.

import { existsSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "@jest/globals";

import { saveCheckpoint, writePyTorch, writeSafetensors } from "../../src/checkpoint/index.js";
import {
  elementCount,
  initialState,
  initialTensor,
  parametersOf,
  type State,
} from "../../src/graph/index.js";
import { startingWeights, transferWeights } from "../../src/train/starting-weights.js";
import { buildModel, type Model } from "../../src/zoo/index.js";
import { expectSameState, MOBILENET, stateOf } from "../checkpoint/models.js";
import { safetensorsFile, temporaryFolder } from "../checkpoint/support.js";
import { errorOf } from "../helpers/graphs.js";

const folder = temporaryFolder();
const at = (name: string): string => join(folder.path(), name);

/** The model to train, and another state of it. */
const model = buildModel({ ...MOBILENET, imageSize: 64 });
const other = stateOf(model, 1);
const SEED = 42;

function saved(name: string, of: Model, state: State, classNames?: readonly string[]): string {
  const path = at(name);
  saveCheckpoint(path, { model: of, state, metadata: { classNames } });
  return path;
}

it("fresh weights depend on the seed alone", () => {
  const { state, notes } = startingWeights({ model, seed: SEED });
  expect(notes).toEqual([]);
  expectSameState(state, initialState(model.graph, SEED));
  const [name] = state.keys();
  expect(startingWeights({ model, seed: 43 }).state.get(name!)).not.toEqual(state.get(name!));
});

describe("pretrained weights", () => {
  it.each(["a.ckpt", "a.safetensors", "a.pth"])("of the same model: %s", (name) => {
    const pretrained = saved(name, model, other);
    const { state, notes } = startingWeights({ model, seed: SEED, pretrained });
    expect([...state.keys()]).toEqual(parametersOf(model.graph).map((op) => op.name));
    expectSameState(state, other);
    expect(notes).toEqual([]);
  });

  it("may be of another image size, and train with a custom L2", () => {
    const options = { arch: "RepVGG-A0", block: "RepVGG", numClasses: 2 };
    const before = buildModel(options);
    const source = { model: before, state: initialState(before.graph, 2) };
    const now = buildModel({ ...options, imageSize: 64, customL2: true });
    const { state, notes } = transferWeights(source, { model: now, seed: SEED });
    expectSameState(state, source.state);
    expect(notes).toEqual([]);
  });

  it("of a published file: what was left off is said", () => {
    const entries = Array.from(other, ([name, tensor]) => ({ name: `module.${name}`, tensor }));
    const pretrained = at("published.pth.tar");
    const beside = new Map<string, string | number>([["arch", "mobilenet"]]);
    writePyTorch(pretrained, entries, { key: "state_dict", beside });
    const { state, notes } = startingWeights({ model, seed: SEED, pretrained });
    expectSameState(state, other);
    expect(notes).toEqual([
      'the weights are those under "state_dict"',
      'every name begins with "module."; it was left off',
      "beside the weights, not used: arch",
    ]);
  });

  it("are rounded to float32 where the file has float64", () => {
    const exact = { shape: [5], data: Float64Array.of(1 / 3, 1 + 2 ** -30, -0.1, 1e-3, 7) };
    const entries = Array.from(other, ([name, tensor]) => ({
      name,
      tensor: name === "linear.bias" ? exact : tensor,
    }));
    const pretrained = at("F64.safetensors");
    writeSafetensors(pretrained, entries);
    const { state } = startingWeights({ model, seed: SEED, pretrained });
    const bias = { shape: [5], data: Float32Array.from(exact.data) };
    expectSameState(state, new Map([...other, ["linear.bias", bias]]));
  });

  it("are float32 where the file has float16", () => {
    const header: Record<string, object> = {};
    let end = 0;
    const halves: [position: number, bits: number][] = [];
    for (const { name, shape, dtype } of parametersOf(model.graph)) {
      const begin = end;
      end += elementCount(shape) * (dtype === "i64" ? 8 : 2);
      header[name] = { dtype: dtype === "i64" ? "I64" : "F16", shape, data_offsets: [begin, end] };
      // 1 + 2^-10, -2 and the smallest number.
      if (name === "linear.bias")
        [0x3c01, 0xc000, 1].forEach((h, i) => halves.push([begin + 2 * i, h]));
    }
    const data = Buffer.alloc(end);
    for (const [position, bits] of halves) data.writeUInt16LE(bits, position);
    const pretrained = folder.place("F16.safetensors", safetensorsFile(header, data));
    const { state } = startingWeights({ model, seed: SEED, pretrained });
    const bias = { shape: [5], data: Float32Array.of(1 + 2 ** -10, -2, 2 ** -24, 0, 0) };
    expectSameState(state, new Map([["linear.bias", bias]]));
    const { shape, data: kernel } = state.get("conv1.conv.weight")!;
    expect([shape, kernel.BYTES_PER_ELEMENT, kernel.length]).toEqual([[32, 3, 3, 3], 4, 864]);
    expect(state.get("conv1.bn.num_batches_tracked")!.data).toEqual(BigInt64Array.of(0n));
  });

  it("leave a head of another number of classes to start anew", () => {
    const before = buildModel({ ...MOBILENET, numClasses: 9 });
    const all = stateOf(before, 1);
    const pretrained = saved("nine.ckpt", before, all, [..."abcdefghi"]);
    const classNames = [..."abcde"];
    const { state, notes } = startingWeights({ model, seed: SEED, pretrained, classNames });
    expect(notes).toEqual([
      "the weights are for 9 classes, and this model has 5 classes: linear.weight, linear.bias start anew",
    ]);
    const fresh = initialState(model.graph, SEED);
    const heads = ["linear.weight", "linear.bias"];
    expectSameState(state, new Map(heads.map((name) => [name, fresh.get(name)!])));
    expectSameState(state, new Map([...all].filter(([name]) => !heads.includes(name))));
    expect(state.size).toBe(all.size);
  });

  it("leave auxiliary heads to start anew too, but not their convolutions", () => {
    const options = { arch: "RepVGGplus-L2pse", block: "RepVGGplus", imageSize: 32 };
    const [before, now] = [
      buildModel({ ...options, numClasses: 3 }),
      buildModel({ ...options, numClasses: 1 }),
    ];
    // What is taken over is not looked at: one tensor of each shape will do.
    const shapes = new Map(parametersOf(before.graph).map((op) => [op.name, op]));
    const small = new Float32Array(1);
    const source = {
      model: before,
      state: {
        get: (name: string) => {
          const { shape, dtype } = shapes.get(name)!;
          return { shape, data: dtype === "i64" ? BigInt64Array.of(3n) : small };
        },
      },
    };
    const { state, notes } = transferWeights(source, { model: now, seed: SEED });
    const heads = ["linear", "stage1_aux.3", "stage2_aux.3", "stage3_first_aux.3"];
    const names = parametersOf(now.graph).filter(({ name }) =>
      heads.includes(name.replace(/\.(weight|bias)$/, "")),
    );
    expect(names).toHaveLength(8);
    expect(notes).toEqual([
      `the weights are for 3 classes, and this model has 1 class: ${names.map(({ name }) => name).join(", ")} start anew`,
    ]);
    expectSameState(state, new Map(names.map((op) => [op.name, initialTensor(op, SEED)])));
    expect(state.get("stage1_aux.0.conv.weight")!.data).toBe(small);
  });

  it.each([
    [[..."abcde"], []],
    [
      [..."abced"],
      [
        'the weights are for the same classes in another order (class 3 is "d" there and "e" here); the head is kept as it is',
      ],
    ],
    [
      ["a", "b\n", "c", "d", "e"],
      [
        'the weights are for classes of other names (class 1 is "b" there and "b\\u{a}" here); the head is kept as it is',
      ],
    ],
    [undefined, []],
  ])("are for the same classes: %j", (classNames, expected) => {
    const pretrained = saved("named.ckpt", model, other, [..."abcde"]);
    const { state, notes } = startingWeights({ model, seed: SEED, pretrained, classNames });
    expect(notes).toEqual(expected);
    expectSameState(state, other);
  });
});

describe("weights to refuse", () => {
  it("of a deployed model: batch norms could be inserted", () => {
    const deployed = buildModel({ ...MOBILENET, block: "DBB", structure: "deploy" });
    const pretrained = saved("deployed.ckpt", deployed, initialState(deployed.graph, 1));
    const trained = buildModel({ ...MOBILENET, block: "DBB" });
    expect(errorOf(() => startingWeights({ model: trained, seed: SEED, pretrained }))).toEqual({
      kind: "file",
      message:
        `${pretrained}: is a deployed MobileNet x DBB with 5 classes, but this run trains MobileNet x ` +
        "DBB in its training structure; to train it on with a batch norm after each convolution, " +
        "use -a MobileNet -t base --insert-bn; or start from the file that it was converted from",
    });
  });

  it.each([
    { arch: "MobileNet", block: "ACB" },
    { arch: "RepVGG-A0", block: "base" },
  ])("of $arch x $block", ({ arch, block }) => {
    const another = buildModel({ arch, block, numClasses: 3 });
    const pretrained = saved("another.pth", another, initialState(another.graph, 1));
    expect(errorOf(() => startingWeights({ model, seed: SEED, pretrained }))).toEqual({
      kind: "file",
      message:
        `${pretrained}: is a training ${arch} x ${block} with 3 classes, but this run trains MobileNet x ` +
        `base in its training structure; to train it on, use -a ${arch} -t ${block}`,
    });
    const source = { model: another, state: new Map() };
    expect(errorOf(() => transferWeights(source, { model, seed: SEED }))).toEqual({
      kind: "usage",
      message: `MobileNet x base cannot start from weights of ${arch} x ${block}; use -a ${arch} -t ${block}`,
    });
  });

  it("that are not there", () => {
    const pretrained = at("nowhere.ckpt");
    expect(existsSync(pretrained)).toBe(false);
    expect(errorOf(() => startingWeights({ model, seed: SEED, pretrained }))).toMatchObject({
      kind: "file",
      message: expect.stringContaining(pretrained),
    });
  });
});
