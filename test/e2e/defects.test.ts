// What the scripts of the original implementations get wrong when they convert and read checkpoints, each with
// a test that repkit does not.
//
//   R1  convert.py with a missing input writes random weights and exits 0     here, convert.test.ts
//   R6  RepVGG drops `dilation` while training                                here
//   R7  RepVGG drops `padding_mode` while training                            here
//   R8  DBB fails late for kernels that it cannot have                        here
//   R9  what is converted or compared depends on train() and eval()           here
//   R13 checkpoints are written in place                                      convert-kill.test.ts
//   R14 a CfgNode in RepVGG's checkpoints keeps PyTorch from opening them     here
//   -   "module." is removed anywhere in a name, not only in front            here
//
// The others concern training: resuming (R2, R15, R18), flags and recipes (R3, R4, R5, R12), schedules
// (R10, R11) and evaluation on several processes (R16, R17).

import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, it } from "@jest/globals";

import { acbBlock, buildBlock, convSpec, dbbBlock, repVggBlock } from "../../src/blocks/index.js";
import type { Block, ConvSpec, Structure } from "../../src/blocks/index.js";
import { openTensorFile, writePyTorch } from "../../src/checkpoint/index.js";
import { type Graph, GraphBuilder, interpret } from "../../src/graph/index.js";
import { fold } from "../../src/reparam/index.js";
import { pickledState } from "../checkpoint/models.js";
import { archive, pickle } from "../checkpoint/support.js";
import { repkit } from "../helpers/cli.js";
import { deployedState, expectState, filledModel } from "../helpers/deployed.js";
import { failureOf } from "../helpers/failures.js";
import { outputsOf, randomImages, randomState, relativeDifference } from "../helpers/folding.js";

const folder = mkdtempSync(join(tmpdir(), "repkit-defects-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A block alone on 4 channels of 15x15 pixels. */
function graphOf(block: Block, spec: ConvSpec, structure: Structure): Graph {
  const scope = new GraphBuilder().root();
  const x = scope.input([4, 15, 15]);
  return scope.builder.build({ y: buildBlock(block, scope.child("b"), x, spec, { structure }) });
}

const shapeOf = (graph: Graph) => graph.nodes[graph.outputs[0]!.value]!.type.shape;
const convolutionsOf = (graph: Graph) =>
  graph.nodes.flatMap(({ op }) => (op.kind === "conv2d" ? [op] : []));

describe("R1: a missing input", () => {
  it("is an error, and nothing is written", () => {
    const before = readdirSync(folder);
    const outcome = repkit("convert", at("missing.pth"), at("out.pth"), "-a", "ResNet-18");
    expect(outcome).toEqual({
      code: 3,
      stdout: "",
      stderr: `error: ${at("missing.pth")}: no such file or folder\n`,
    });
    expect(readdirSync(folder)).toEqual(before);
  });
});

describe("R6: dilation", () => {
  it.each([
    ["RepVGG", repVggBlock],
    ["ACB", acbBlock()],
  ])("%s has it in training, in what it folds to, and deployed", (_name, block) => {
    const spec = convSpec({ out: 4, kernel: 3, dilation: 2 });
    const [train, deploy] = [graphOf(block, spec, "train"), graphOf(block, spec, "deploy")];
    expect(shapeOf(train)).toEqual([4, 15, 15]);
    expect(shapeOf(deploy)).toEqual([4, 15, 15]);
    expect(convolutionsOf(train)[0]).toMatchObject({ dilation: [2, 2] });
    const state = randomState(train);
    const folded = fold(train, state);
    expect(convolutionsOf(folded.graph)).toEqual(convolutionsOf(deploy));
    const images = randomImages(train);
    const expected = outputsOf(train, state, images);
    expect(relativeDifference(outputsOf(deploy, folded.state, images), expected)).toBeLessThan(
      1e-6,
    );
  });
});

describe("R7: padding_mode", () => {
  it("does not exist, so none can be dropped", () => {
    // @ts-expect-error an option that is not known is none
    const spec = convSpec({ out: 4, kernel: 3, padding_mode: "reflect" });
    expect(Object.keys(spec).sort()).toEqual([
      ...["dilation", "groups", "kernel", "out", "padding", "stride"],
    ]);
    expect(repkit("convert", "in.pth", "out.pth", "--padding-mode", "reflect")).toEqual({
      code: 2,
      stdout: "",
      stderr: "error: unknown option '--padding-mode'\n",
    });
  });
});

describe("R8: a convolution that a block cannot stand for", () => {
  it.each([
    ["an even kernel", convSpec({ out: 8, kernel: 4 }), "an odd kernel"],
    ["a padding that loses the border", convSpec({ out: 8, kernel: 3, padding: 0 }), "padding 1"],
    [
      "groups that do not divide",
      convSpec({ out: 8, kernel: 3, groups: 3 }),
      "groups that divide inputs and outputs",
    ],
  ])("%s: refused while the block is built, with what it needs", async (_what, spec, needed) => {
    const { kind, message } = await failureOf(() => graphOf(dbbBlock(), spec, "train"));
    expect(kind).toBe("usage");
    expect(message).toContain(`b: DBB: expected ${needed}`);
  });

  it("dilation is no such case: what is built folds to what is deployed", () => {
    const spec = convSpec({ out: 8, kernel: 3, dilation: 2 });
    const train = graphOf(dbbBlock(), spec, "train");
    const state = randomState(train);
    const folded = fold(train, state);
    const deploy = graphOf(dbbBlock(), spec, "deploy");
    expect(convolutionsOf(folded.graph)).toEqual(convolutionsOf(deploy));
    const images = randomImages(train);
    const expected = outputsOf(train, state, images);
    expect(relativeDifference(outputsOf(deploy, folded.state, images), expected)).toBeLessThan(
      1e-6,
    );
  });
});

describe("R9: train() and eval()", () => {
  it("folding has no mode: it means the running statistics, whatever has run before", () => {
    const train = graphOf(dbbBlock(), convSpec({ out: 4, kernel: 3 }), "train");
    const state = randomState(train);
    const images = randomImages(train);
    const first = fold(train, state);
    const inTraining = interpret(train, state, images, { mode: "train" }).outputs;
    const second = fold(train, state);
    expect([...second.state]).toEqual([...first.state]);
    const deployed = outputsOf(second.graph, second.state, images);
    expect(relativeDifference(deployed, outputsOf(train, state, images))).toBeLessThan(1e-6);
    expect(relativeDifference(deployed, inTraining)).toBeGreaterThan(0.1);
  });
});

describe("R14: RepVGG's checkpoints", () => {
  it("hold a CfgNode, which is neither executed nor in the way", () => {
    const { dict, storages } = pickledState({ arch: "MobileNet", block: "base", numClasses: 3 });
    // Values that are fit for variances too.
    const count = storages["0"]!.byteLength / 4;
    const values = Float32Array.from({ length: count }, (_, i) => 0.01 + (i % 7) / 1000);
    const config = pickle.raw(
      pickle.global("yacs.config.CfgNode"),
      ...[")", "\x81", "(", pickle.text("LR"), pickle.float(0.1), "u"],
      ...[pickle.dict(pickle.text("__immutable__"), "\x88"), "b"],
    );
    const checkpoint = pickle.of(
      pickle.dict(
        ...[pickle.text("model"), dict, pickle.text("max_accuracy"), pickle.float(72.4)],
        ...[pickle.text("epoch"), pickle.int(119), pickle.text("config"), config],
      ),
    );
    const bytes = archive(checkpoint, { ...storages, "0": new Uint8Array(values.buffer) });
    writeFileSync(at("latest.pth"), bytes);
    const { code, stderr } = repkit("convert", at("latest.pth"), at("deployed.pth"));
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr:
        'note: the weights are those under "model"\n' +
        "note: pickled objects, kept as data and not executed: yacs.config.CfgNode\n" +
        "note: beside the weights, not used: max_accuracy, epoch, config\n",
    });
    expect(existsSync(at("deployed.pth"))).toBe(true);
  });
});

describe("prefixes", () => {
  const { model, state } = filledModel({ arch: "MobileNet", block: "base", numClasses: 3 });
  const write = (name: string, rename: (name: string) => string) => {
    const entries = Array.from(state, ([key, tensor]) => ({ name: rename(key), tensor }));
    writePyTorch(at(name), entries);
    return at(name);
  };

  it("are removed where every name begins with them, and said so", () => {
    const input = write("leading.pth", (name) => `module.${name}`);
    const outcome = repkit("convert", input, at("leading.ckpt"));
    expect(outcome).toMatchObject({
      code: 0,
      stderr: 'note: every name begins with "module."; it was left off\n',
    });
    expectState(at("leading.ckpt"), deployedState(model, state));
  });

  it("are not removed where only some have them", () => {
    const input = write("some.pth", (name) =>
      name.startsWith("linear") ? `module.${name}` : name,
    );
    const { code, stdout, stderr } = repkit("convert", input, at("some.ckpt"));
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(stderr).toContain("2 missing: linear.weight (classes,1024), linear.bias (classes)");
    expect(stderr).toContain("2 unexpected: module.linear.weight (3,1024), module.linear.bias (3)");
    expect(existsSync(at("some.ckpt"))).toBe(false);
  });

  it("are not removed within names", () => {
    const input = write("within.pth", (name) => name.replace("stem.0.", "stem.module.0."));
    const file = openTensorFile(input);
    expect(file.strippedPrefix).toBe("");
    expect(file.tensors.has("stem.module.0.depthwise.conv.weight")).toBe(true);
    file.close();
    const { code, stderr } = repkit("convert", input, at("within.ckpt"));
    expect(code).toBe(3);
    expect(stderr).toContain("12 unexpected: stem.module.0.depthwise.conv.weight (32,1,3,3), ");
  });
});
