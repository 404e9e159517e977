// Opening files as models: what does not fit is listed and refused, what was assumed is said.

import { readdirSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "@jest/globals";

import {
  loadCheckpoint,
  saveCheckpoint,
  writePyTorch,
  writeSafetensors,
  type LoadOptions,
  type TensorEntry,
} from "../../src/checkpoint/index.js";
import { initialState } from "../../src/graph/index.js";
import { buildModel, type ModelOptions } from "../../src/zoo/index.js";
import { errorOf } from "../helpers/graphs.js";
import { DEPLOYED, entriesOf, MOBILENET, pickledState } from "./models.js";
import { archive, pickle, refusal, temporaryFolder } from "./support.js";

const folder = temporaryFolder();
const at = (name: string): string => join(folder.path(), name);

function loadRefusal(path: string, options: LoadOptions = {}) {
  return refusal(() => loadCheckpoint(path, options).close());
}

describe("a checkpoint that is not exactly a model", () => {
  it("is missing: the path and nothing else is created", () => {
    const before = readdirSync(folder.path());
    const { reason, message } = loadRefusal(at("missing.pth"));
    expect(reason).toBe("unreadable");
    expect(message).toBe(`${at("missing.pth")}: no such file or folder`);
    expect(readdirSync(folder.path())).toEqual(before);
  });

  it("lacks tensors and has others: both are listed", () => {
    const entries = entriesOf(MOBILENET).filter(({ name }) => !name.startsWith("linear."));
    const fc = { name: "fc.weight", tensor: { shape: [5, 1024], data: new Float32Array(5120) } };
    writePyTorch(at("g.pth"), [...entries, fc]);
    const { message, details } = loadRefusal(at("g.pth"));
    expect(message).toBe(
      `${at("g.pth")}: is not quite a training MobileNet x base (3 tensors differ); save the whole ` +
        "state dict of the network and nothing else: 2 missing: linear.weight (classes,1024), " +
        "linear.bias (classes); 1 unexpected: fc.weight (5,1024)",
    );
    expect(details).toMatchObject({
      missing: ["linear.weight", "linear.bias"],
      unexpected: ["fc.weight"],
      mismatched: [],
    });
  });

  it("has a prefix in the middle of names, which is not stripped", () => {
    const inner = (name: string) => name.replace("conv1.", "conv1.module.");
    const entries = entriesOf(DEPLOYED).map((entry) => ({ ...entry, name: inner(entry.name) }));
    writePyTorch(at("h.pth"), entries);
    expect(loadRefusal(at("h.pth")).details).toMatchObject({
      missing: ["conv1.conv.weight", "conv1.conv.bias"],
      unexpected: ["conv1.module.conv.weight", "conv1.module.conv.bias"],
    });
  });

  it("has a prefix on some names only, which is not stripped", () => {
    const entries = entriesOf(DEPLOYED).map((entry) =>
      entry.name.startsWith("linear.") ? entry : { ...entry, name: `module.${entry.name}` },
    );
    writePyTorch(at("i.pth"), entries);
    expect(loadRefusal(at("i.pth")).reason).toBe("unrecognised");
  });

  it("has counters that count no whole number of steps", () => {
    const name = "conv1.bn.num_batches_tracked";
    const wrong = (value: number): TensorEntry => ({
      name,
      tensor: { shape: [], data: Float32Array.of(value) },
    });
    const others = entriesOf(MOBILENET).filter((entry) => entry.name !== name);
    writePyTorch(at("j.pth"), [...others, wrong(7)]);
    const good = loadCheckpoint(at("j.pth"));
    expect(good.state.get(name)).toEqual({ shape: [], data: BigInt64Array.of(7n) });
    good.close();
    writePyTorch(at("j.pth"), [...others, wrong(Infinity)]);
    const bad = loadCheckpoint(at("j.pth"));
    expect(refusal(() => bad.state.get(name)).message).toBe(
      `${at("j.pth")}: tensor ${name}: expected a whole number of steps, found Infinity (F32)`,
    );
    bad.close();
  });
});

describe("metadata and tensors", () => {
  const claim = (
    name: string,
    changes: Record<string, string>,
    options: ModelOptions = DEPLOYED,
  ) => {
    const claims = { format: "repkit", version: "1", arch: "MobileNet", block: "base" };
    const more = { mode: "deploy", classes: "5", img_size: "224" };
    const metadata = new Map(Object.entries({ ...claims, ...more, ...changes }));
    writeSafetensors(at(name), entriesOf(options), metadata);
    return at(name);
  };

  it.each([
    [
      "another number of classes",
      { classes: "6" },
      "its metadata says that it is a deployed MobileNet x base with 6 classes, but the tensors are " +
        "those of a deployed MobileNet x base with 5 classes: 2 of another shape: linear.weight is " +
        "(5,1024) instead of (6,1024), linear.bias is (5) instead of (6)",
    ],
    [
      "another structure",
      { mode: "train" },
      "its metadata says that it is a training MobileNet x base with 5 classes, but the tensors are " +
        "those of a deployed MobileNet x base with 5 classes: 108 missing: conv1.bn.weight (32), " +
        "conv1.bn.bias (32), conv1.bn.running_mean (32) and 105 more; 27 unexpected: " +
        "conv1.conv.bias (32), stem.0.depthwise.conv.bias (32), stem.0.pointwise.conv.bias (64) and 24 more",
    ],
  ])("contradict each other: %s", (_, changes, message) => {
    const path = claim("k.ckpt", changes);
    const found = loadRefusal(path);
    expect(found.reason).toBe("contradiction");
    expect(found.message).toBe(`${path}: ${message}`);
  });

  it("contradict each other where the tensors are of nothing", () => {
    const metadata = new Map(
      Object.entries({
        ...{ format: "repkit", version: "1", arch: "MobileNet", block: "base" },
        ...{ mode: "deploy", classes: "5", img_size: "224" },
      }),
    );
    const entries = entriesOf(DEPLOYED).slice(1);
    writeSafetensors(at("l.ckpt"), entries, metadata);
    expect(loadRefusal(at("l.ckpt")).message).toBe(
      `${at("l.ckpt")}: its metadata says that it is a deployed MobileNet x base with 5 classes, but ` +
        "not all tensors fit: 1 missing: conv1.conv.weight (32,3,3,3)",
    );
  });

  it("may be those of an architecture of a later day", () => {
    const path = claim("m.ckpt", { arch: "MobileNet-v9" });
    const found = loadRefusal(path);
    expect(found.reason).toBe("unsupported");
    expect(found.message).toBe(
      `${path}: its metadata names a model of another repkit: unknown architecture "MobileNet-v9"; ` +
        'did you mean "MobileNet"?',
    );
  });

  it("are held against what was asked for", () => {
    const path = claim("n.ckpt", {});
    const fits = loadCheckpoint(path, { arch: "MobileNet", structure: "deploy", numClasses: 5 });
    expect(fits.recognised).toBe("metadata");
    fits.close();
    expect(loadRefusal(path, { arch: "ResNet-18" }).message).toBe(
      `${path}: is a deployed MobileNet x base with 5 classes, says its metadata; you asked for ` +
        "ResNet-18, in which linear.weight is (5,1024) instead of (5,512), stage0.conv1.conv.weight " +
        "(64,3,7,7) is missing, stage0.conv1.conv.bias (64) is missing and 92 more",
    );
    expect(errorOf(() => loadCheckpoint(path, { arch: "ResNet-19" })).kind).toBe("usage");
  });

  it("decide between networks with the same state", () => {
    const options = { arch: "ResNet-18", block: "OREPA_VGG", structure: "deploy" } as const;
    const model = buildModel({ ...options, numClasses: 2 });
    const state = initialState(model.graph, 1);
    saveCheckpoint(at("o.ckpt"), { model, state });
    const loaded = loadCheckpoint(at("o.ckpt"));
    expect(loaded).toMatchObject({ alsoMatches: [], notes: [], model: options });
    loaded.close();
    saveCheckpoint(at("o.pth"), { model, state });
    const guessed = loadCheckpoint(at("o.pth"));
    expect(guessed.model.block).toBe("RepVGG");
    expect(guessed.notes).toEqual([
      "it may as well be a deployed ResNet-18 x OREPA_VGG, which computes something else from the " +
        "same tensors; taken as ResNet-18 x RepVGG unless you choose the block",
    ]);
    guessed.close();
    const chosen = loadCheckpoint(at("o.pth"), { block: "OREPA_VGG" });
    expect(chosen).toMatchObject({ notes: [], model: options });
    chosen.close();
  });
});

describe("what training scripts leave behind", () => {
  const CFG_NODE = [
    ...[pickle.global("yacs.config.CfgNode"), ")\x81("],
    ...[
      pickle.text("AMP_OPT_LEVEL"),
      pickle.text(""),
      pickle.text("BASE"),
      "](",
      pickle.text(""),
      "e",
    ],
    ...["u", pickle.dict(pickle.text("__immutable__"), "\x88"), "b"],
  ];

  it("RepVGG's {model, optimizer, max_accuracy, epoch, config}: the config is data, not executed", () => {
    const { dict, storages } = pickledState({ arch: "RepVGG-A0", block: "RepVGG" });
    const file = pickle.of(
      pickle.dict(
        ...[pickle.text("model"), dict],
        ...[pickle.text("optimizer"), pickle.dict(pickle.text("state"), "}")],
        ...[pickle.text("max_accuracy"), pickle.float(72.41)],
        ...[pickle.text("epoch"), pickle.int(119)],
        ...[pickle.text("config"), ...CFG_NODE],
      ),
    );
    const loaded = loadCheckpoint(folder.place("latest.pth", archive(file, storages)));
    expect(loaded.model).toMatchObject({ arch: "RepVGG-A0", block: "RepVGG", structure: "train" });
    expect(loaded.recognised).toBe("names");
    expect(loaded.notes).toEqual([
      'the weights are those under "model"',
      "pickled objects, kept as data and not executed: yacs.config.CfgNode",
      "beside the weights, not used: optimizer, max_accuracy, epoch, config",
    ]);
    expect(loaded.file.inertGlobals).toEqual(["yacs.config.CfgNode"]);
    expect(loaded.state.get("stage0.rbr_1x1.bn.num_batches_tracked")).toEqual({
      shape: [],
      data: BigInt64Array.of(5n),
    });
    expect(loaded.state.get("linear.bias")!.data.slice(0, 8)).toEqual(
      Float32Array.of(-3, -2, -1, 0, 1, 2, 3, -3),
    );
    loaded.close();
  });

  it.each([
    ["module.", 'every name begins with "module."; it was left off'],
    ["_orig_mod.module.", 'every name begins with "_orig_mod.module."; it was left off'],
  ])("names that begin with %s", (prefix, note) => {
    const { dict, storages } = pickledState(DEPLOYED, prefix);
    const loaded = loadCheckpoint(folder.place("p.pth", archive(pickle.of(dict), storages)));
    expect(loaded.notes).toEqual([note]);
    expect(loaded.model).toMatchObject(DEPLOYED);
    loaded.close();
  });

  it("a file without num_batches_tracked, as PyTorch 0.4.0 wrote it", () => {
    const entries = entriesOf(MOBILENET).filter(({ name }) => !name.endsWith("_tracked"));
    writePyTorch(at("r.pth"), entries);
    const loaded = loadCheckpoint(at("r.pth"));
    expect(loaded.notes).toEqual([
      "it has no num_batches_tracked (PyTorch before 0.4.1); they count as 0",
    ]);
    expect(loaded.state.get("conv1.bn.num_batches_tracked")).toEqual({
      shape: [],
      data: BigInt64Array.of(0n),
    });
    loaded.close();
  });

  it("averaged weights beside the raw ones: the raw ones, and it is said; or those asked for", () => {
    const { dict, storages } = pickledState(DEPLOYED);
    const file = pickle.of(
      pickle.dict(
        pickle.text("model"),
        dict,
        pickle.text("model_ema"),
        dict,
        pickle.text("epoch"),
        "K\x01",
      ),
    );
    const path = folder.place("s.pth", archive(file, storages));
    const loaded = loadCheckpoint(path);
    expect(loaded.notes).toEqual([
      'the weights are those under "model"',
      'there are also weights under "model_ema"; left out',
      "beside the weights, not used: model_ema, epoch",
    ]);
    loaded.close();
    const averaged = loadCheckpoint(path, { root: "model_ema" });
    expect(averaged.notes[0]).toBe('the weights are those under "model_ema"');
    averaged.close();
  });
});
