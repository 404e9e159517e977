// Compares with what the reference recorded: each deployed tensor of every folded model, and every image's
// pixels. DIR holds models/ and images/ in the form of test/fixtures, which it is unless given.
// Usage: npm run build && node scripts/check-reference.js [--folder DIR] [--only models|images] [MODEL...]
// Prints one line a model, with its worst tensor, and one for each image and path by which it is read. Exit
// code 1 where a tensor differs by 1e-6 or more, or an image at all. MODELs alone leave out the images.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { checkImages } from "./reference-images.js";

import { buildModel, parametersOf } from "repkit";
import { initialTensor } from "repkit/graph";
import { foldGraph, materialise } from "repkit/reparam";

/** @import { Tensor } from "repkit" */
/** @import { ParamOp } from "repkit/graph" */
/** @typedef {{ sum: number, l2: number, first4: number[] }} Stats */
/** @typedef {{ arch: string, block: string, seed: number, deploy: { tensors: Record<string, Stats> } }} Reference */
/** @typedef {{ tensor: string, difference: number }} Worst */

const TOLERANCE = 1e-6;
const { abs, imul, sqrt } = Math;
const { values: options, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: {
    folder: {
      type: "string",
      default: fileURLToPath(new URL("../test/fixtures", import.meta.url)),
    },
    only: { type: "string", default: "" },
  },
});

/** @param {number} value */
function mix(value) {
  let h = value >>> 0;
  h = imul(h ^ (h >>> 16), 0x85ebca6b);
  h = imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * A parameter by "fill v1" (test/fixtures/README.md).
 * @param {ParamOp} op
 * @param {number} seed
 * @returns {Tensor}
 */
function filled(op, seed) {
  const { name, shape, role } = op;
  const last = name.slice(name.lastIndexOf(".") + 1);
  const isRunning = last === "running_mean" || last === "running_var";
  if (last === "num_batches_tracked" || (role === "buffer" && !isRunning)) {
    return initialTensor(op, 0);
  }
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = imul(hash ^ byte, 0x01000193);
  const key = mix(hash ^ seed);
  const [scale, offset] = range(last, name, shape);
  const data = new Float32Array(shape.reduce((count, extent) => count * extent, 1));
  for (let i = 0; i < data.length; i++) {
    const u = mix((key + imul(i, 0x9e3779b9)) >>> 0) / 2 ** 32;
    data[i] = (u - offset) * scale;
  }
  return { shape, data };
}

/**
 * What a number u from [0, 1) becomes: (u - offset) * scale.
 * @param {string} last
 * @param {string} name
 * @param {readonly number[]} shape
 * @returns {[scale: number, offset: number]}
 */
function range(last, name, shape) {
  if (last === "running_var") return [1, -0.5];
  if (last === "running_mean") return [0.2, 0.5];
  if (shape.length === 1) return name.endsWith("weight") ? [1, -0.5] : [0.2, 0.5];
  if (last === "vector") return [0.5, -0.5];
  const fanIn = shape.slice(1).reduce((count, extent) => count * extent, 1);
  return [2 * sqrt(3 / fanIn) * 0.7, 0.5];
}

/**
 * The largest of the differences of sum, l2 and first four values: relative to l2*sqrt(n), which no
 * sum exceeds, to l2, and to the largest element.
 * @param {Tensor} tensor
 * @param {Stats} expected
 */
function statsDifference({ data }, expected) {
  let [sum, squares, largest] = [0, 0, 0];
  for (let i = 0; i < data.length; i++) {
    const value = Number(data[i]);
    sum += value;
    squares += value * value;
    const size = value < 0 ? -value : value;
    if (size > largest) largest = size;
  }
  const { l2 } = expected;
  const differences = [
    abs(sum - expected.sum) / (l2 * sqrt(data.length)),
    abs(sqrt(squares) - l2) / l2,
    ...expected.first4.map((value, i) => abs(Number(data[i]) - value) / largest),
  ];
  return differences.reduce((worst, each) => (each <= worst ? worst : each), 0);
}

/**
 * @param {string} folder
 * @param {string} name
 * @returns {Worst}
 */
function checkModel(folder, name) {
  /** @type {unknown} */
  const parsed = JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8"));
  const { arch, block, seed, deploy } = /** @type {Reference} */ (parsed);
  const { graph } = buildModel({ arch, block });
  const { graph: folded, groups } = foldGraph(graph, { outputs: ["logits"] });
  const { parameters } = materialise(graph, folded, groups);
  const expected = Object.keys(deploy.tensors);
  const missing = expected.find((tensor, i) => parameters[i]?.name !== tensor);
  if (missing !== undefined || parameters.length !== expected.length) {
    return { tensor: `order: ${missing ?? parameters.at(-1)?.name}`, difference: Infinity };
  }
  // Filled when it is asked for: the largest models have a gigabyte of weights.
  const ops = new Map(parametersOf(graph).map((op) => [op.name, op]));
  const state = {
    /** @param {string} parameter */
    get(parameter) {
      const op = ops.get(parameter);
      return op && filled(op, seed);
    },
  };
  /** @type {Worst} */
  let worst = { tensor: "", difference: 0 };
  for (const { name: tensor, value } of parameters) {
    const stats = deploy.tensors[tensor];
    const difference = stats === undefined ? Infinity : statsDifference(value(state), stats);
    if (!(difference <= worst.difference)) worst = { tensor, difference };
  }
  return worst;
}

/** @returns {boolean} whether all pass */
function models() {
  const folder = join(options.folder, "models");
  const all = readdirSync(folder)
    .filter((file) => file.endsWith(".json"))
    .map((file) => file.slice(0, -".json".length))
    .sort();
  const names = wanted.length === 0 ? all : all.filter((name) => wanted.includes(name));
  if (names.length === 0 || names.length < wanted.length) {
    refuse(`not all of ${wanted.join(" ") || "the models"} are in ${folder}`);
  }
  const width = Math.max(...names.map((name) => name.length));
  let failed = 0;
  for (const name of names) {
    const started = performance.now();
    const { tensor, difference } = checkModel(folder, name);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const passes = difference < TOLERANCE;
    if (!passes) failed++;
    const figures = `${difference.toExponential(2).padStart(8)}  ${seconds.padStart(5)} s`;
    console.log(`${verdict(passes)}  ${name.padEnd(width)}  ${figures}  ${tensor}`);
  }
  console.log(`${names.length - failed} of ${names.length} models within ${TOLERANCE}`);
  return failed === 0;
}

/** @returns {Promise<boolean>} whether all pass */
async function images() {
  let [count, failed] = [0, 0];
  for await (const { name, path, passes, text } of checkImages(join(options.folder, "images"))) {
    count++;
    if (!passes) failed++;
    console.log(`${verdict(passes)}  ${name.padEnd(34)}  ${path.padEnd(8)}  ${text}`);
  }
  console.log(`${count - failed} of ${count} readings as the reference's`);
  return failed === 0;
}

/** @param {boolean} passes */
const verdict = (passes) => (passes ? "ok  " : "FAIL");

/** @param {string} message */
function refuse(message) {
  console.error(message);
  process.exit(2);
}

const { only } = options;
const parts = only === "" ? ["models", "images"].slice(0, wanted.length > 0 ? 1 : 2) : [only];
if (only !== "" && only !== "models" && only !== "images") {
  refuse(`--only: expected models or images, received ${only}`);
}
if (only === "images" && wanted.length > 0) refuse(`--only images takes no ${wanted.join(" ")}`);
const missing = parts.find((part) => !existsSync(join(options.folder, part)));
if (missing !== undefined) refuse(`--folder: expected ${missing}/ in ${options.folder}`);
const passed = [
  parts.includes("models") ? models() : true,
  parts.includes("images") ? await images() : true,
];
process.exitCode = passed.includes(false) ? 1 : 0;
