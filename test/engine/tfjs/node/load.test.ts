// Which tfjs-node is loaded, why none is, and that it runs in threads. The builds here are made of nothing
// but names; the one that runs is the machine's own.

import { existsSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";

import { afterAll, describe, expect, test } from "@jest/globals";

import { diagnoseTfjsNode } from "../../../../src/engine/tfjs/node/diagnosis.js";
import { findTfjsNode, loadTfjsNode } from "../../../../src/engine/tfjs/node/load.js";
import { RepkitError } from "../../../../src/errors.js";
import { withTfjsNode } from "../../../helpers/tfjs-node.js";
import { writeTree } from "../../../helpers/torch-trees.js";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "repkit-tfjs-node-")));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});
let count = 0;
const newFolder = () => join(folder, String(count++));

const PACKAGE = "node_modules/@tensorflow/tfjs-node";
const ADDON = `${PACKAGE}/lib/napi-v8/tfjs_binding.node`;

/** A project with a tfjs-node of its own, and an empty cache. */
function project(files: Readonly<Record<string, string>>) {
  const root = writeTree(newFolder(), { "package.json": "{}", ...files });
  return { project: root, env: { PATH: process.env["PATH"], REPKIT_CACHE: newFolder() } };
}

describe("finding tfjs-node", () => {
  test("nothing: the command that builds it", () => {
    const found = findTfjsNode("tfjs-node", project({}));
    expect(found).toEqual({
      problem: "the tfjs-node addon is not built",
      fix: "repkit build tfjs-node",
    });
    expect(findTfjsNode("tfjs-node-gpu", project({}))).toMatchObject({
      fix: "repkit build tfjs-node-gpu",
    });
  });

  test("the project's own", () => {
    const situation = project({ [`${PACKAGE}/package.json`]: "{}", [ADDON]: "" });
    expect(findTfjsNode("tfjs-node", situation)).toEqual({
      kind: "installed",
      packageFolder: join(situation.project, PACKAGE),
      addonPath: join(situation.project, ADDON),
    });
  });

  test("one whose install script failed", () => {
    const situation = project({ [`${PACKAGE}/package.json`]: "{}" });
    const found = findTfjsNode("tfjs-node", situation);
    expect(found).toMatchObject({
      problem: `${join(situation.project, PACKAGE)} is there without its addon: its install script failed`,
    });
  });

  test("turned off", () => {
    const { env, ...rest } = project({});
    const situation = { ...rest, env: { ...env, REPKIT_TENSORFLOW: "none" } };
    expect(findTfjsNode("tfjs-node", situation)).toEqual({
      ...{ problem: 'REPKIT_TENSORFLOW is "none"', fix: "unset REPKIT_TENSORFLOW" },
    });
  });

  test("one that does not load is an environment error with one line", async () => {
    const situation = project({
      [`${PACKAGE}/package.json`]: "{}",
      [ADDON]: "",
      "node_modules/@tensorflow/tfjs/package.json": '{ "main": "index.js" }',
      "node_modules/@tensorflow/tfjs/index.js": 'throw new Error("broken\\nand more");',
    });
    const error: unknown = await loadTfjsNode("tfjs-node", situation).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RepkitError);
    expect(error).toMatchObject({ kind: "environment" });
    expect((error as RepkitError).message).toMatch(
      /^engine tfjs:node: .*tfjs-node does not load: broken; run: repkit build tfjs-node$/,
    );
  });

  test("doctor asks the addon itself", () => {
    const situation = project({ [`${PACKAGE}/package.json`]: "{}", [ADDON]: "not a library" });
    const report = diagnoseTfjsNode("tfjs-node", situation);
    expect(report).toMatchObject({ name: "tfjs:node", ok: false });
    expect(report.problems[0]?.problem).toMatch(/^the tfjs-node addon does not load: /);
  });
});

const LOADER = new URL("../../../../dist/engine/tfjs/node/load.js", import.meta.url);

/** Convolves, in a thread of its own, and answers what became of it. */
const WORK = `
  const { parentPort, workerData } = require("node:worker_threads");
  import(workerData).then(async ({ loadTfjsNode }) => {
    const tf = await loadTfjsNode("tfjs-node");
    let sum = 0;
    for (let i = 0; i < 20; i++) {
      tf.tidy(() => {
        const x = tf.ones([1, 8, 8, 3]);
        const { value, grads } = tf.valueAndGrads((a, w) => tf.conv2d(a, w, 1, "same").sum())([x, tf.ones([3, 3, 3, 2])]);
        sum = value.dataSync()[0] + grads[1].sum().dataSync()[0];
      });
    }
    parentPort.postMessage([tf.getBackend(), sum, tf.memory().numTensors]);
  });
`;

function inThread(): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(WORK, { eval: true, workerData: LOADER.href });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

withTfjsNode("tfjs-node", () => {
  test("says its TensorFlow", () => {
    expect(diagnoseTfjsNode("tfjs-node")).toMatchObject({
      ...{ name: "tfjs:node", ok: true, devices: ["cpu"], problems: [] },
      version: expect.stringMatching(/^TensorFlow 2\.\d+\.\d+/),
    });
  });

  (existsSync(LOADER) ? test : test.skip)(
    "runs in two threads at once, and in another after they have ended",
    async () => {
      // 3 x 3 x 3 ones at the 36 inner places, 2 x 3 x 3 at 24 edges, 2 x 2 x 3 at 4 corners; two outputs.
      const sum = 2 * 3 * (36 * 9 + 24 * 6 + 4 * 4);
      const expected = ["tensorflow", 2 * sum, 0];
      expect(await Promise.all([inThread(), inThread()])).toEqual([expected, expected]);
      expect(await inThread()).toEqual(expected);
    },
    60_000,
  );
});
