// Writing models: the container by extension, the whole file or none, and the state back as it was.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "@jest/globals";

import {
  loadCheckpoint,
  openTensorFile,
  outputContainer,
  saveCheckpoint,
  stageCheckpoint,
} from "../../src/checkpoint/index.js";
import { parametersOf } from "../../src/graph/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { errorOf } from "../helpers/graphs.js";
import { DEPLOYED, expectSameState, MOBILENET, stateOf } from "./models.js";
import { temporaryFolder } from "./support.js";

const folder = temporaryFolder();
const at = (name: string): string => join(folder.path(), name);

describe("a saved checkpoint", () => {
  it.each([
    ["a.ckpt", "metadata", "safetensors", []],
    ["a.SAFETENSORS", "metadata", "safetensors", []],
    ["a.pth", "names", "pytorch-zip", []],
    ["a.pt", "names", "pytorch-zip", []],
    [
      "a.pth.tar",
      "names",
      "pytorch-zip",
      ['the weights are those under "state_dict"', "beside the weights, not used: epoch, arch"],
    ],
  ])("%s is loaded as what it was", (name, recognised, container, notes) => {
    const model = buildModel({ ...MOBILENET, imageSize: 96 });
    const state = stateOf(model);
    saveCheckpoint(at(name), { model, state, metadata: { epoch: 3, bestAcc1: 71.5 } });
    const loaded = loadCheckpoint(at(name));
    expect(loaded).toMatchObject({ path: at(name), recognised, notes, alsoMatches: [] });
    expect(loaded.file.container).toBe(container);
    const imageSize = recognised === "metadata" ? 96 : 224;
    expect(loaded.model).toMatchObject({ ...MOBILENET, structure: "train", imageSize });
    expect(loaded.metadata?.epoch).toBe(recognised === "metadata" ? 3 : undefined);
    expectSameState(loaded.state, state);
    expect(loaded.state.get("no such tensor")).toBeUndefined();
    loaded.close();
    const tensors = [...openTensorFile(at(name)).tensors.values()];
    expect(tensors.map(({ name }) => name)).toEqual(
      parametersOf(model.graph).map(({ name }) => name),
    );
    expect([...new Set(tensors.map(({ dtype }) => dtype))]).toEqual(["F32", "I64"]);
  });

  it("of .pth.tar holds what training scripts put beside the weights", () => {
    const model = buildModel(DEPLOYED);
    saveCheckpoint(at("b.pth.tar"), {
      ...{ model, state: stateOf(model) },
      metadata: { epoch: 120, bestAcc1: 71.5 },
    });
    const file = openTensorFile(at("b.pth.tar"));
    expect([...file.extras]).toEqual([
      ["epoch", 120],
      ["arch", "MobileNet"],
    ]);
    file.close();
  });

  it("takes another image size than its own, for no weight depends on it", () => {
    const model = buildModel({ ...DEPLOYED, imageSize: 96 });
    saveCheckpoint(at("c.ckpt"), { model, state: stateOf(model) });
    const loaded = loadCheckpoint(at("c.ckpt"), { imageSize: 160 });
    expect(loaded.model.imageSize).toBe(160);
    expect(loaded.metadata?.imgSize).toBe(96);
    loaded.close();
  });

  it("rounds float64 to float32 once, as it is written", () => {
    const model = buildModel(DEPLOYED);
    const state = stateOf(model);
    const { shape } = state.get("linear.bias")!;
    state.set("linear.bias", { shape, data: Float64Array.from([0.1, 0.2, 0.3, 0.4, 1e-50]) });
    saveCheckpoint(at("d.ckpt"), { model, state });
    const loaded = loadCheckpoint(at("d.ckpt"));
    expect(loaded.state.get("linear.bias")!.data).toEqual(
      Float32Array.from([0.1, 0.2, 0.3, 0.4, 0]),
    );
    loaded.close();
  });

  it("keeps tensors beside the weights apart from them", () => {
    const model = buildModel(DEPLOYED);
    const beside = [
      { name: "@momentum/linear.bias", tensor: { shape: [2], data: Float32Array.of(1, 2) } },
    ];
    const options = { model, state: stateOf(model), beside };
    saveCheckpoint(at("e.ckpt"), options);
    const loaded = loadCheckpoint(at("e.ckpt"));
    expect(loaded.state.get("@momentum/linear.bias")).toBeUndefined();
    expect(loaded.file.get("@momentum/linear.bias")?.data).toEqual(Float32Array.of(1, 2));
    loaded.close();
    expect(errorOf(() => saveCheckpoint(at("e.pth"), options))).toEqual({
      kind: "usage",
      message: `${at("e.pth")}: only .ckpt and .safetensors hold tensors beside the weights`,
    });
    expect(existsSync(at("e.pth"))).toBe(false);
  });

  it.each(["same.ckpt", "same.pth"])("may be written over the file it is read from: %s", (name) => {
    const model = buildModel(MOBILENET);
    const state = stateOf(model);
    saveCheckpoint(at(name), { model, state });
    const before = statSync(at(name));
    const loaded = loadCheckpoint(at(name));
    // Nothing has been read yet: the values come from the old file while the new one is written.
    saveCheckpoint(at(name), { model: loaded.model, state: loaded.state });
    expectSameState(loaded.state, state);
    loaded.close();
    const after = statSync(at(name));
    expect(after.size).toBe(before.size);
    expect(after.ino).not.toBe(before.ino);
    const again = loadCheckpoint(at(name));
    expectSameState(again.state, state);
    again.close();
  });

  it("is not there, or is the old one, when the state fails half way", () => {
    const model = buildModel(DEPLOYED);
    const state = stateOf(model);
    const broken = {
      get: (name: string) => (name === "linear.bias" ? undefined : state.get(name)),
    };
    saveCheckpoint(at("f.ckpt"), { model, state });
    const old = readFileSync(at("f.ckpt"));
    for (const name of ["f.ckpt", "new.ckpt", "new.pth"]) {
      expect(errorOf(() => saveCheckpoint(at(name), { model, state: broken }))).toEqual({
        kind: "internal",
        message: "the state has no linear.bias (5)",
      });
    }
    expect(readFileSync(at("f.ckpt")).equals(old)).toBe(true);
    expect(readdirSync(folder.path()).filter((name) => /^new|tmp$/.test(name))).toEqual([]);
  });

  it.each([
    ["x.onnx", "ONNX cannot be written yet; use one of .ckpt, .safetensors, .pth.tar, .pth, .pt"],
    [
      "x.bin",
      "what to write is told by the extension; use one of .ckpt, .safetensors, .pth.tar, .pth, .pt",
    ],
    ["ckpt", "what to write is told by the extension; use one of .ckpt"],
  ])("has no container for %s", (name, message) => {
    const error = errorOf(() => outputContainer(name));
    expect(error.kind).toBe("usage");
    expect(error.message.startsWith(`${name}: ${message}`)).toBe(true);
  });
});

describe("a checkpoint under way", () => {
  const model = buildModel(DEPLOYED);
  const state = stateOf(model);
  const names = parametersOf(model.graph).map(({ name }) => name);

  it.each(["staged.ckpt", "staged.pth", "staged.pth.tar"])(
    "%s takes its tensors in any order",
    (name) => {
      const metadata = { epoch: 7, source: "what it was made from" };
      saveCheckpoint(at(`whole-${name}`), { model, state, metadata });
      const writer = stageCheckpoint(at(name), { model, metadata });
      for (const each of names.toReversed()) writer.write(each, state.get(each)!);
      expect(existsSync(at(name))).toBe(false);
      writer.describe(metadata);
      writer.commit();
      writer.discard();
      const [whole, staged] = [at(`whole-${name}`), at(name)].map((path) => loadCheckpoint(path));
      expectSameState(staged!.state, state);
      expect(staged!.metadata).toEqual(whole!.metadata);
      expect([...staged!.file.tensors]).toEqual([...whole!.file.tensors]);
      expect(statSync(at(name)).size).toBe(statSync(at(`whole-${name}`)).size);
      whole!.close();
      staged!.close();
    },
  );

  it("in safetensors is the very file that is written at once, whatever it says in the end", () => {
    const final = { source: "short" };
    const writer = stageCheckpoint(at("m.ckpt"), { model, metadata: { source: "x".repeat(500) } });
    for (const name of names.toReversed()) writer.write(name, state.get(name)!);
    writer.describe(final);
    writer.commit();
    const loaded = loadCheckpoint(at("m.ckpt"));
    expect(loaded.metadata?.source).toBe("short");
    expectSameState(loaded.state, state);
    loaded.close();
    saveCheckpoint(at("n.ckpt"), { model, state, metadata: final });
    const [padded, exact] = [at("m.ckpt"), at("n.ckpt")].map((path) => readFileSync(path));
    const header = (file: Buffer) => file.subarray(8, 8 + Number(file.readBigUInt64LE()));
    expect(header(padded!).toString().trimEnd()).toBe(header(exact!).toString().trimEnd());
    const data = (file: Buffer) => file.subarray(8 + header(file).length);
    expect(data(padded!).equals(data(exact!))).toBe(true);
  });

  it("refuses what it does not wait for, and what is missing, and leaves nothing", () => {
    for (const name of ["refused.ckpt", "refused.pth"]) {
      const writer = stageCheckpoint(at(name), { model, metadata: {} });
      const [first = ""] = names;
      expect(errorOf(() => writer.write("no.such.tensor", state.get(first)!)).message).toBe(
        "tensor no.such.tensor is not to be written, or was already",
      );
      writer.write(first, state.get(first)!);
      expect(() => writer.write(first, state.get(first)!)).toThrow("or was already");
      expect(() => writer.write(names[1]!, { shape: [1], data: Float32Array.of(1) })).toThrow(
        `tensor ${names[1]}: shape`,
      );
      expect(() => writer.commit()).toThrow(`tensor ${names[1]} was never written`);
      writer.discard();
      expect(readdirSync(folder.path()).filter((each) => /refused|\.tmp$/.test(each))).toEqual([]);
    }
    const writer = stageCheckpoint(at("refused.ckpt"), { model, metadata: {} });
    expect(() => writer.describe({ source: "x".repeat(100) })).toThrow(/^a header of \d+ bytes, /);
    writer.discard();
  });
});
