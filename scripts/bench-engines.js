// Training steps of several engines in turn, in one process, on the same model and batch: ratios that the
// machine's mood does not change. The first engine is what the others are compared with.
// Usage: npm run build && node scripts/bench-engines.js [torch tfjs:node ...] [-a ResNet-18] [-t base]
//   [-b 8] [--img-size 224] [--rounds 5] [--json]

import { parseArgs } from "node:util";

import { LEARNING_RATE, median, randomBatch, TRAINING } from "../dist/bench/index.js";
import { chooseEngine } from "../dist/engine/index.js";
import { initialState } from "../dist/graph/index.js";
import { buildModel } from "../dist/zoo/index.js";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arch: { type: "string", short: "a", default: "ResNet-18" },
    blocktype: { type: "string", short: "t", default: "base" },
    batch: { type: "string", short: "b", default: "8" },
    "img-size": { type: "string", default: "224" },
    rounds: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
  },
});
const names = positionals.length > 0 ? positionals : ["torch", "tfjs:node"];
const imageSize = Number(options["img-size"]);
const numClasses = 1000;
const { graph } = buildModel({
  ...{ arch: options.arch, block: options.blocktype, structure: "train" },
  ...{ imageSize, numClasses },
});
const batch = randomBatch({ size: Number(options.batch), imageSize, numClasses }, 0);

const runs = [];
for (const name of names) {
  const engine = await chooseEngine(name);
  const executable = await engine.load(graph, initialState(graph, 0), { training: TRAINING });
  runs.push({ name, executable, seconds: /** @type {number[]} */ ([]), loss: NaN });
}
/** Rounds that do not count. */
const WARMUP = 2;
for (let round = 0; round < WARMUP + Number(options.rounds); round++) {
  for (const run of runs) {
    const started = performance.now();
    run.loss = (await run.executable.trainStep(batch, { learningRate: LEARNING_RATE })).loss;
    if (round >= WARMUP) run.seconds.push((performance.now() - started) / 1000);
  }
}
const base = runs[0]?.seconds ?? [];
const results = runs.map(({ name, seconds, loss }) => ({
  ...{ engine: name, median_seconds: median(seconds), last_loss: loss },
  // Of the steps of a round, which the same disturbances meet.
  relative_speed: median(seconds.map((own, i) => (base[i] ?? NaN) / own)),
}));
for (const { executable } of runs) await executable.dispose();
if (options.json) {
  process.stdout.write(`${JSON.stringify(results)}\n`);
} else {
  for (const { engine, median_seconds: step, relative_speed: speed, last_loss: loss } of results) {
    process.stdout.write(
      `${engine.padEnd(14)}${step.toFixed(3)} s  ${speed.toFixed(2)}x  loss ${loss.toFixed(6)}\n`,
    );
  }
}
