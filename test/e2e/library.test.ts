// The package as a library, imported by its name from a folder of the user's own.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "@jest/globals";

import { openTensorFile } from "../../src/checkpoint/index.js";
import { userFolder } from "../helpers/package.js";

const user = userFolder();

/** The JSON document that a script prints. */
function documentOf(name: string, source: string): unknown {
  const { code, stdout, stderr } = user.node(name, source);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

describe("import", () => {
  it("builds, saves, loads, folds and converts a model", () => {
    const document = documentOf(
      "model.mjs",
      `
      import {
        buildModel, convert, equivalentKernel, fold, initialState, loadCheckpoint, parameterCount,
        saveCheckpoint,
      } from "repkit";

      const trained = buildModel({ arch: "MobileNet", block: "ACB", numClasses: 3, imageSize: 64 });
      const metadata = { epoch: 7, classNames: ["cat", "dog", "fish"] };
      saveCheckpoint("trained.ckpt", { model: trained, state: initialState(trained.graph, 1), metadata });

      const loaded = loadCheckpoint("trained.ckpt");
      const { graph, state, groups, refused } = fold(loaded.model.graph, loaded.state);
      const model = buildModel({ ...loaded.model, structure: "deploy" });
      saveCheckpoint("by-hand.pth", { model, state });
      const { epoch, classNames } = loaded.metadata;
      loaded.close();

      const calls = [];
      const conversion = await convert({
        input: "trained.ckpt",
        output: "by-convert.pth",
        onProgress: (done, total) => calls.push(done + "/" + total),
      });
      const { graph: weights, op } = equivalentKernel(trained.graph, "conv1");
      console.log(JSON.stringify({
        params: [parameterCount(trained.graph), parameterCount(graph)],
        groups: groups.length, refused: refused.length, epoch, classNames,
        folded: conversion.folded, notes: conversion.notes, last: calls.at(-1),
        kernel: weights.outputs.map(({ name, value }) => [name, weights.nodes[value].type.shape]),
        stride: op.stride, padding: op.padding,
      }));
    `,
    );
    expect(document).toEqual({
      // The deployed one is ACB's 3x3 convolutions with a bias in place of four norms and kernels.
      params: [3_260_355, 3_199_107],
      ...{ groups: 27, refused: expect.any(Number), epoch: 7 },
      classNames: ["cat", "dog", "fish"],
      ...{ folded: 27, notes: [], last: "27/27" },
      kernel: [
        ["weight", [32, 3, 3, 3]],
        ["bias", [32]],
      ],
      ...{ stride: [2, 2], padding: [1, 1, 1, 1] },
    });
    const [byHand, byConvert] = ["by-hand.pth", "by-convert.pth"].map((name) =>
      readFileSync(join(user.path, name)),
    );
    expect(byHand!.equals(byConvert!)).toBe(true);
    const file = openTensorFile(join(user.path, "by-hand.pth"));
    expect(file.tensors.get("linear.bias")).toEqual({
      ...{ name: "linear.bias", dtype: "F32", shape: [3] },
    });
    file.close();
  });

  it("folds blocks in a network of one's own, and leaves the rest alone", () => {
    const document = documentOf(
      "own.mjs",
      `
      import { buildBlock, convSpec, fold, GraphBuilder, initialState, interpret } from "repkit";
      import { acbBlock, dbbBlock } from "repkit/blocks";

      const train = { structure: "train" };
      const scope = new GraphBuilder().root();
      const x = scope.input([4, 12, 12]);
      const a = buildBlock(dbbBlock(), scope.child("a"), x, convSpec({ out: 8, kernel: 3 }), train);
      const b = buildBlock(acbBlock(), scope.child("b"), scope.relu(a),
        convSpec({ out: 8, kernel: 3, groups: 2 }), train);
      const graph = scope.builder.build({ y: scope.silu(b) });

      const state = initialState(graph, 5);
      const deployed = fold(graph, state);
      const data = Float64Array.from({ length: 4 * 144 }, (_, i) => Math.sin(i));
      const run = (g, s) =>
        interpret(g, s, { shape: [1, 4, 12, 12], data }, { mode: "infer" }).outputs.get("y").data;
      const [before, after] = [run(graph, state), run(deployed.graph, deployed.state)];
      const largest = Math.max(...before.map(Math.abs));
      const worst = Math.max(...before.map((value, i) => Math.abs(value - after[i])));
      const weight = deployed.state.get("a.dbb_reparam.weight");
      console.log(JSON.stringify({
        names: [...deployed.state.keys()],
        shape: weight.shape, type: weight.data.constructor.name, finite: weight.data.every(Number.isFinite),
        kinds: deployed.graph.nodes.map(({ op }) => op.kind).filter((kind) => kind !== "param"),
        exact: worst < 1e-6 * largest && worst > 0, outputs: before.length,
      }));
    `,
    );
    expect(document).toEqual({
      names: [
        ...["a.dbb_reparam.weight", "a.dbb_reparam.bias"],
        ...["b.fused_conv.weight", "b.fused_conv.bias"],
      ],
      ...{ shape: [8, 4, 3, 3], type: "Float32Array", finite: true },
      kinds: ["input", "conv2d", "relu", "conv2d", "silu"],
      ...{ exact: true, outputs: 8 * 144 },
    });
  });

  it("errors carry a kind and an exit code", () => {
    const document = documentOf(
      "errors.mjs",
      `
      import { convert, EXIT_CODES, loadCheckpoint, RepkitError } from "repkit";
      const results = [];
      for (const call of [
        () => loadCheckpoint("none.pth"),
        () => convert({ input: "none.pth", output: "out.onnx" }),
        () => convert({ input: "none.pth", output: "out.pth" }),
      ]) {
        try {
          await call();
        } catch (error) {
          results.push([error instanceof RepkitError, error.kind, error.exitCode, error.message]);
        }
      }
      console.log(JSON.stringify({ results, codes: EXIT_CODES }));
    `,
    );
    expect(document).toEqual({
      results: [
        [true, "file", 3, "none.pth: no such file or folder"],
        [true, "usage", 2, expect.stringMatching(/^out\.onnx: ONNX cannot be written yet/)],
        [true, "file", 3, "none.pth: no such file or folder"],
      ],
      codes: {
        ...{ internal: 1, usage: 2, file: 3, verification: 4 },
        ...{ notFoldable: 5, diverged: 6, environment: 7 },
      },
    });
  });
});

describe("require", () => {
  it("gives CommonJS the same module", () => {
    const { code, stdout, stderr } = user.node(
      "common.cjs",
      `
      const { buildModel, fold, initialState } = require("repkit");
      const { graph } = buildModel({ arch: "MobileNet", block: "base", numClasses: 2 });
      const { state } = fold(graph, initialState(graph, 0));
      import("repkit").then((module) => {
        console.log(state.size, [...state.keys()][0], module.fold === fold);
      });
    `,
    );
    // Some versions of Node remark that require() of ES modules is new; that is all they may say.
    expect(stderr.replace(/^\(node:\d+\) ExperimentalWarning: .*\n.*\n/, "")).toBe("");
    expect({ code, stdout }).toEqual({ code: 0, stdout: "56 conv1.conv.weight true\n" });
  });
});
