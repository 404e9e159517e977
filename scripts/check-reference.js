// Folds every reference model and compares each deployed tensor with what the reference recorded.
// Usage: npm run build && node scripts/check-reference.js [MODEL...]
// Prints one line a model, with its worst tensor; exit code 1 where one differs by 1e-6 or more.

import { readdirSync, readFileSync } from "node:fs";

import { buildModel, parametersOf } from "repkit";
import { initialTensor } from "repkit/graph";
import { foldGraph, materialise } from "repkit/reparam";

/** @import { Tensor } from "repkit" */
/** @import { ParamOp } from "repkit/graph" */
/** @typedef {{ sum: number, l2: number, first4: number[] }} Stats */
/** @typedef {{ arch: string, block: string, deploy: { tensors: Record<string, Stats> } }} Reference */
/** @typedef {{ tensor: string, difference: number }} Worst */

const TOLERANCE = 1e-6;
const { abs, imul, sqrt } = Math;
const folder = new URL("../test/fixtures/models/", import.meta.url);

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
 * @returns {Tensor}
 */
function filled(op) {
  const { name, shape, role } = op;
  const last = name.slice(name.lastIndexOf(".") + 1);
  const isRunning = last === "running_mean" || last === "running_var";
  if (last === "num_batches_tracked" || (role === "buffer" && !isRunning)) {
    return initialTensor(op, 0);
  }
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = imul(hash ^ byte, 0x01000193);
  const key = mix(hash);
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
 * @param {string} name
 * @returns {Worst}
 */
function check(name) {
  /** @type {unknown} */
  const parsed = JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
  const { arch, block, deploy } = /** @type {Reference} */ (parsed);
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
      return op && filled(op);
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

const all = readdirSync(folder)
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.slice(0, -".json".length))
  .sort();
const wanted = process.argv.slice(2);
const names = wanted.length === 0 ? all : all.filter((name) => wanted.includes(name));
if (names.length === 0 || names.length < wanted.length) {
  console.error(`not all of ${wanted.join(" ") || "the models"} are in ${folder.pathname}`);
  process.exit(2);
}
const width = Math.max(...names.map((name) => name.length));
let failed = 0;
for (const name of names) {
  const started = performance.now();
  const { tensor, difference } = check(name);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const passes = difference < TOLERANCE;
  if (!passes) failed++;
  const verdict = passes ? "ok  " : "FAIL";
  const figures = `${difference.toExponential(2).padStart(8)}  ${seconds.padStart(5)} s`;
  console.log(`${verdict}  ${name.padEnd(width)}  ${figures}  ${tensor}`);
}
console.log(`${names.length - failed} of ${names.length} models within ${TOLERANCE}`);
process.exitCode = failed > 0 ? 1 : 0;
