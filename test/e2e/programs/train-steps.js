// Trains a small network and prints resident memory in bytes, as JSON: `node train-steps.js STEPS EVERY`.
// As a worker thread it posts its losses instead.
import { isMainThread, parentPort } from "node:worker_threads";

import { chooseEngine } from "../../../dist/engine/index.js";
import { initialState } from "../../../dist/graph/index.js";
import { buildModel } from "../../../dist/index.js";

const SIZE = 32;
const BATCH = 2;

/**
 * @param {number} steps
 * @param {(step: number, loss: number) => void} onStep
 */
async function train(steps, onStep) {
  const engine = await chooseEngine("torch");
  const { graph } = buildModel({ arch: "ResNet-18", block: "base", imageSize: SIZE });
  const executable = await engine.load(graph, initialState(graph, 0), { threads: 1, training: {} });
  const shape = [BATCH, SIZE, SIZE, 3];
  const data = Uint8Array.from({ length: BATCH * SIZE * SIZE * 3 }, (_, i) => (i * 7919) % 256);
  const labels = Int32Array.from({ length: BATCH }, (_, n) => n);
  for (let step = 1; step <= steps; step++) {
    const { loss } = await executable.trainStep(
      { images: { shape, data }, labels },
      { learningRate: 0.01 },
    );
    onStep(step, loss);
  }
  await executable.dispose();
}

const [, , steps = 1, every = 1] = process.argv.map(Number);
if (isMainThread) {
  /** @type {Record<string, number>} */
  const resident = {};
  await train(steps, (step) => {
    if (step % every === 0) resident[step] = process.memoryUsage.rss();
  });
  resident["disposed"] = process.memoryUsage.rss();
  process.stdout.write(`${JSON.stringify(resident)}\n`);
} else {
  /** @type {number[]} */
  const losses = [];
  await train(steps, (_step, loss) => losses.push(loss));
  parentPort?.postMessage(losses);
}
