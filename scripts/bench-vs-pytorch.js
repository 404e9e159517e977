// Measures training steps against PyTorch: the same model, weights, batch and threads, in turn.
// Usage: npm run build && node scripts/bench-vs-pytorch.js [--models ResNet-18:base,ResNet-18:DBB|all]
//   [-b 8] [--img-size 224] [--threads 2] [--rounds 5] [--steps 2] [--precisions fp32,bf16]
//   [--forward] [--python PATH] [--json]
//
// PyTorch runs in three settings: `nchw fp32`, what the reference scripts do; `channels_last fp32` and
// `channels_last bf16` (autocast), its best. In each round everyone takes one turn of --steps runs, after
// a run that does not count and refills the caches; the others are idle. docs/performance.md says more.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { PyTorch } from "./pytorch-peer.js";

import { buildModel, initialState, saveCheckpoint } from "repkit";
import { chooseEngine } from "repkit/engine";
import { graphToJson } from "repkit/graph";

const { values: options } = parseArgs({
  options: {
    models: {
      type: "string",
      default: "ResNet-18:base,ResNet-18:DBB,ResNet-18:OREPA,RepVGG-A0:RepVGG,MobileNet:DBB",
    },
    batch: { type: "string", short: "b", default: "8" },
    "img-size": { type: "string", default: "224" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "5" },
    steps: { type: "string", default: "2" },
    precisions: { type: "string", default: "fp32,bf16" },
    forward: { type: "boolean", default: false },
    engine: { type: "string", default: "torch" },
    python: { type: "string", default: "/usr/bin/python3" },
    json: { type: "boolean", default: false },
  },
});
const ALL =
  "ResNet-18:base,ResNet-18:ACB,ResNet-18:DBB,ResNet-18:OREPA,ResNet-50:base,ResNet-50:DBB," +
  "ResNet-50:OREPA,ResNeXt-50:OREPA,MobileNet:base,MobileNet:DBB,RepVGG-A0:RepVGG," +
  "RepVGG-A0:OREPA_VGG,RepVGG-B1g2:RepVGG,RepVGGplus-L2pse:RepVGGplus";
/** After a turn the threads of a process spin for some milliseconds before they sleep. */
const SETTLE_MS = 100;
const SETTINGS = [
  { key: "pytorch_nchw_fp32", layout: "nchw", precision: "fp32" },
  { key: "pytorch_channels_last_fp32", layout: "channels_last", precision: "fp32" },
  { key: "pytorch_channels_last_bf16", layout: "channels_last", precision: "bf16" },
];
/** What the reference scripts do; what the ratios are to. */
const REFERENCE = "pytorch_nchw_fp32";

// From the build, by address: the package does not export this.
/** @type {unknown} */
const benchModule = await import(new URL("../dist/bench/index.js", import.meta.url).href);
const { LEARNING_RATE, median, randomBatch, TRAINING } =
  /** @type {typeof import("../src/bench/index.js")} */ (benchModule);
const threads = Number(options.threads);
/** What steers thread pools and kernels of either side. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) =>
    /^(GOMP|OMP|OPENBLAS|MKL|DNNL|ONEDNN)_/.test(name),
  ),
);
const precisions = /** @type {import("../src/engine/types.js").Precision[]} */ (
  options.precisions.split(",")
);
const mode = options.forward ? "forward" : "step";
// The load average that a run makes itself is no neighbour's; PyTorch's threads spin as they please too.
process.env["REPKIT_SHARED_CPU"] ??= "0";
const engine = await chooseEngine(options.engine);
/** @type {Record<string, unknown>} */
let versions = {};
if (Object.keys(environment).length > 0) {
  const set = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  process.stderr.write(`note: set for both sides, and perhaps not for others: ${set.join(" ")}\n`);
}

/**
 * What came of some runs.
 * @typedef {{ seconds: number[], losses: number[] }} Turn
 *
 * Someone who takes turns.
 * @typedef {{ key: string, run: (times: number) => Promise<Turn> }} Runner
 */

/**
 * repkit in one precision.
 * @param {ReturnType<typeof buildModel>} model
 * @param {ReturnType<typeof initialState>} state
 * @param {ReturnType<typeof randomBatch>} batch
 * @param {import("../src/engine/types.js").Precision} precision
 */
async function repkitRunner(model, state, batch, precision) {
  const training = mode === "step" ? { training: TRAINING } : {};
  const executable = await engine.load(model.graph, state, { precision, threads, ...training });
  const once = () =>
    mode === "step"
      ? executable.trainStep(batch, { learningRate: LEARNING_RATE })
      : executable.evaluate(batch);
  return {
    key: `repkit_${precision}`,
    async run(/** @type {number} */ times) {
      /** @type {Turn} */
      const turn = { seconds: [], losses: [] };
      for (let i = 0; i < times; i++) {
        const started = performance.now();
        turn.losses.push((await once()).loss);
        turn.seconds.push((performance.now() - started) / 1000);
      }
      return turn;
    },
    dispose: () => executable.dispose(),
  };
}

/**
 * One model: everyone's seconds, by key.
 * @param {string} arch
 * @param {string} block
 */
async function compare(arch, block) {
  const folder = mkdtempSync(join(tmpdir(), "repkit-bench-"));
  const peer = new PyTorch(options.python, threads);
  const own = [];
  try {
    const model = buildModel({ arch, block, imageSize: Number(options["img-size"]) });
    const state = initialState(model.graph, 0);
    const { imageSize, numClasses } = model;
    const batch = randomBatch({ size: Number(options.batch), imageSize, numClasses }, 0);
    const [graph, weights, images] = [
      join(folder, "graph.json"),
      join(folder, "state.pth"),
      join(folder, "images.bin"),
    ];
    writeFileSync(graph, graphToJson(model.graph));
    saveCheckpoint(weights, { model, state });
    writeFileSync(images, /** @type {Uint8Array} */ (batch.images.data));
    versions = await peer.ask({ do: "about" });
    /** @type {Runner[]} */
    const runners = [];
    for (const precision of precisions) {
      const runner = await repkitRunner(model, state, batch, precision);
      own.push(runner);
      runners.push(runner);
    }
    for (const setting of SETTINGS) {
      const isWanted = setting.key === REFERENCE || precisions.some((p) => p === setting.precision);
      if (!isWanted) continue;
      await peer.ask({
        ...{ do: "load", ...setting, mode, lr: LEARNING_RATE, graph, state: weights, images },
        ...{ shape: batch.images.shape, labels: [...batch.labels] },
      });
      runners.push({
        key: setting.key,
        run: async (times) => {
          const answer = await peer.ask({ do: "run", key: setting.key, times });
          return /** @type {Turn} */ (/** @type {unknown} */ (answer));
        },
      });
    }
    return await takeTurns(runners);
  } finally {
    for (const runner of own) await runner.dispose();
    await peer.stop();
    rmSync(folder, { recursive: true });
  }
}

/** @param {readonly Runner[]} runners */
async function takeTurns(runners) {
  /** @type {Record<string, Turn>} */
  const results = {};
  for (const { key, run } of runners) {
    // Allocates memory, chooses kernels; its loss is everyone's first.
    results[key] = { seconds: [], losses: (await run(1)).losses };
    await sleep(SETTLE_MS);
  }
  for (let round = 0; round < Number(options.rounds); round++) {
    const first = round % runners.length;
    for (const { key, run } of [...runners.slice(first), ...runners.slice(0, first)]) {
      const { seconds, losses } = await run(1 + Number(options.steps));
      results[key]?.seconds.push(...seconds.slice(1));
      results[key]?.losses.push(...losses);
      await sleep(SETTLE_MS);
    }
  }
  return results;
}

/** @param {Awaited<ReturnType<typeof takeTurns>>} results */
function summary(results) {
  const entries = Object.entries(results);
  const medians = Object.fromEntries(entries.map(([key, { seconds }]) => [key, median(seconds)]));
  const reference = medians[REFERENCE] ?? NaN;
  const best = (/** @type {string} */ precision) => medians[`pytorch_channels_last_${precision}`];
  return {
    median_seconds: medians,
    min_seconds: Object.fromEntries(
      entries.map(([key, { seconds }]) => [key, Math.min(...seconds)]),
    ),
    // Above 1: repkit is faster, than the reference script, and than PyTorch's best of that precision.
    ratio_to_reference: Object.fromEntries(
      precisions.map((p) => [p, reference / (medians[`repkit_${p}`] ?? NaN)]),
    ),
    ratio_to_best: Object.fromEntries(
      precisions.map((p) => {
        const theirs = p === "fp32" ? Math.min(reference, best(p) ?? Infinity) : best(p);
        return [p, (theirs ?? NaN) / (medians[`repkit_${p}`] ?? NaN)];
      }),
    ),
    first_loss: Object.fromEntries(entries.map(([key, { losses }]) => [key, losses[0]])),
    last_loss: Object.fromEntries(entries.map(([key, { losses }]) => [key, losses.at(-1)])),
  };
}

const rows = [];
for (const pair of (options.models === "all" ? ALL : options.models).split(",")) {
  const [arch = "", block = "base"] = pair.split(":");
  process.stderr.write(`${arch} x ${block}\n`);
  rows.push({ arch, block, ...summary(await compare(arch, block)) });
}

const conditions = {
  ...{ mode, batch_size: Number(options.batch), img_size: Number(options["img-size"]), threads },
  ...{ rounds: Number(options.rounds), steps: Number(options.steps) },
  ...{ engine: engine.name, engine_description: engine.description, pytorch: versions },
  ...{ node: process.version, cpu: cpus()[0]?.model ?? "", cores: availableParallelism() },
  environment,
};
if (options.json) {
  process.stdout.write(`${JSON.stringify({ ...conditions, models: rows })}\n`);
} else {
  const fixed = (/** @type {number | undefined} */ value) => (value ?? NaN).toFixed(3);
  console.log(JSON.stringify(conditions));
  console.table(
    rows.map(({ arch, block, median_seconds, ratio_to_reference, ratio_to_best }) => ({
      model: `${arch} x ${block}`,
      ...Object.fromEntries(Object.entries(median_seconds).map(([key, s]) => [key, fixed(s)])),
      ...Object.fromEntries(
        precisions.map((p) => [`${p} x reference`, fixed(ratio_to_reference[p])]),
      ),
      ...Object.fromEntries(precisions.map((p) => [`${p} x best`, fixed(ratio_to_best[p])])),
    })),
  );
}
