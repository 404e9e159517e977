// `repkit info FILE`: what a file is, for machines and for people; nothing in it is executed.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import { saveCheckpoint, writePyTorch } from "../../src/checkpoint/index.js";
import { initialState, parametersOf } from "../../src/graph/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { repkit } from "../helpers/cli.js";
import { FIXTURES } from "../helpers/fixtures.js";

const PTH = `${FIXTURES}/pth/`;
const expectations = JSON.parse(readFileSync(`${PTH}expected.json`, "utf8")) as Record<
  string,
  { status: string; globals?: string[]; marker?: string; tensors?: unknown[] }
>;

let folder = "";
let before = "";
beforeAll(() => {
  before = process.cwd();
  folder = mkdtempSync(join(tmpdir(), "repkit-info-"));
  process.chdir(folder);
});
afterAll(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true, force: true });
});

const MODEL = { arch: "MobileNet", block: "base", structure: "deploy", numClasses: 3 } as const;

/** Saves a small model into the folder. */
function save(name: string): ReturnType<typeof buildModel> {
  const model = buildModel({ ...MODEL, imageSize: 96 });
  const metadata = { epoch: 2, classNames: ["cat", "dog", "\x1b[31mred"], verified: "no" } as const;
  saveCheckpoint(name, { model, state: initialState(model.graph, 1), metadata });
  return model;
}

function documentOf(...args: string[]): Record<string, unknown> {
  const { code, stdout, stderr } = repkit("info", ...args, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe("info FILE --json", () => {
  it("of a saved checkpoint", () => {
    const { graph } = save("a.ckpt");
    expect(documentOf("a.ckpt")).toEqual({
      file: "a.ckpt",
      container: "safetensors",
      bytes: statSync("a.ckpt").size,
      metadata: {
        ...{ format: "repkit", version: 1, arch: "MobileNet", block: "base", mode: "deploy" },
        ...{ classes: 3, img_size: 96, epoch: 2, verified: "no" },
        class_names: ["cat", "dog", "\x1b[31mred"],
      },
      ...{ arch: "MobileNet", block: "base", mode: "deploy", classes: 3, params: 3_199_107 },
      recognised: "metadata",
      ...{ also_matches: [], problem: null, root: "", prefix: "" },
      ...{ inert_globals: [], alternatives: [], extras: {} },
      tensors: parametersOf(graph).map(({ name, shape }) => [name, "F32", shape]),
    });
  });

  it("of a training checkpoint of PyTorch: what lies beside the weights, in short", () => {
    const document = documentOf(`${PTH}train_checkpoint.pth.tar`);
    expect(document).toMatchObject({
      ...{ container: "pytorch-zip", root: "state_dict", prefix: "module.", metadata: null },
      ...{ arch: null, block: null, mode: null, classes: null, params: null, recognised: null },
      extras: {
        ...{ epoch: 3, arch: "NarrowNet", best_acc1: 71.25 },
        ...{ optimizer: "dict of 2", scheduler: "dict of 8" },
      },
      problem: { reason: "unrecognised" },
    });
    expect(document["tensors"]).toHaveLength(95);
  });

  it("of a file that lacks a tensor: the near miss, and exit 0", () => {
    const { graph } = buildModel(MODEL);
    const entries = Array.from(initialState(graph, 1), ([name, tensor]) => ({ name, tensor }));
    writePyTorch("b.pth", entries.slice(1));
    expect(documentOf("b.pth")).toMatchObject({
      ...{ arch: null, recognised: null },
      problem: {
        reason: "unrecognised",
        message:
          "b.pth: is not quite a deployed MobileNet x base with 3 classes (1 tensor differs); save " +
          "the whole state dict of the network and nothing else: 1 missing: conv1.conv.weight (32,3,3,3)",
        nearest: MODEL,
        ...{ missing: ["conv1.conv.weight"], unexpected: [], mismatched: [] },
      },
    });
  });

  it("of a file and an architecture that it is not", () => {
    save("c.pth");
    const document = documentOf("c.pth", "-a", "ResNet-18");
    expect(document).toMatchObject({ arch: null, problem: { reason: "other-model" } });
    expect(documentOf("c.pth", "-a", "MobileNet", "--deploy", "--num-classes", "3")).toMatchObject({
      arch: "MobileNet",
      problem: null,
    });
  });
});

const readable = Object.entries(expectations).filter(([, { status }]) => status === "ok");
const bad = Object.entries(expectations).filter(([, { status }]) => status === "error");

it.each(readable)("reads %s", (name, { tensors }) => {
  expect(documentOf(PTH + name)["tensors"]).toHaveLength(tensors?.length ?? -1);
});

it.each(bad)("refuses %s with exit 3 and one line, and runs nothing", (name, { globals }) => {
  const files = readdirSync(".");
  const { code, stdout, stderr } = repkit("info", PTH + name);
  expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
  expect(stderr.startsWith(`error: ${PTH}${name}: `)).toBe(true);
  expect(stderr.indexOf("\n")).toBe(stderr.length - 1);
  if (globals !== undefined && name.startsWith("hostile")) {
    expect(globals.some((global) => stderr.includes(global))).toBe(true);
  }
  expect(readdirSync(".")).toEqual(files);
});

describe("info FILE for people", () => {
  it("is a title, what the file says, and the first tensors", () => {
    save("d.ckpt");
    const { code, stdout, stderr } = repkit("info", "d.ckpt");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n")).toEqual([
      "d.ckpt: safetensors, 12.80 MB",
      "a deployed MobileNet x base with 3 classes, by its metadata",
      "",
      "metadata format: repkit",
      "metadata version: 1",
      "metadata arch: MobileNet",
      "metadata block: base",
      "metadata mode: deploy",
      "metadata classes: 3",
      "metadata img_size: 96",
      "metadata epoch: 2",
      'metadata class_names: ["cat","dog","\\u001b[31mred"]',
      "metadata verified: no",
      "",
      "TENSOR                        TYPE  SHAPE",
      "conv1.conv.weight             F32   (32,3,3,3)",
      "conv1.conv.bias               F32   (32)",
      "stem.0.depthwise.conv.weight  F32   (32,1,3,3)",
      "stem.0.depthwise.conv.bias    F32   (32)",
      "stem.0.pointwise.conv.weight  F32   (64,32,1,1)",
      "stem.0.pointwise.conv.bias    F32   (64)",
      "stem.1.depthwise.conv.weight  F32   (64,1,3,3)",
      "stem.1.depthwise.conv.bias    F32   (64)",
      "stem.1.pointwise.conv.weight  F32   (128,64,1,1)",
      "stem.1.pointwise.conv.bias    F32   (128)",
      "... and 46 more (--tensors lists them all)",
      "56 tensors, 3.20 M values, 3.20 M of them parameters",
      "",
    ]);
    const all = repkit("info", "d.ckpt", "--tensors").stdout.split("\n");
    expect(all.slice(-4, -1)).toEqual([
      "linear.weight                  F32   (3,1024)",
      "linear.bias                    F32   (3)",
      "56 tensors, 3.20 M values, 3.20 M of them parameters",
    ]);
  });

  it("says what is wrong and what was assumed", () => {
    const { code, stdout } = repkit("info", `${PTH}module_prefix.pth`);
    expect(code).toBe(0);
    expect(stdout.split("\n").slice(1, 5)).toEqual([
      "problem: its tensors (95, the first is stem.dbb_origin.conv.weight) are of no architecture " +
        "that repkit knows; see repkit list",
      "",
      'note: every name begins with "module."; it was left off',
      "",
    ]);
  });
});

describe("info and mistakes", () => {
  it.each([
    [["missing.pth"], 3, "missing.pth: no such file or folder"],
    [["."], 3, ".: is not a regular file"],
    [["ResNet-18"], 3, "ResNet-18: no such file; for the architecture use -a ResNet-18"],
    [[], 2, "info: expected a FILE or an architecture (-a), received neither"],
    [
      ["a.ckpt", "-a", "ResNet-19"],
      2,
      'unknown architecture "ResNet-19"; did you mean "ResNet-18"?',
    ],
    [["a.ckpt", "--graph"], 2, "info: --graph does not go with a FILE"],
    [["a.ckpt", "--img-size", "96"], 2, "info: --img-size does not go with a FILE"],
    [["-a", "ResNet-18", "--tensors"], 2, "info: --tensors does not go without a FILE"],
  ])("%j", (args, code, message) => {
    save("a.ckpt");
    expect(repkit("info", ...args)).toEqual({ code, stdout: "", stderr: `error: ${message}\n` });
  });
});
