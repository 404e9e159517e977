// Measures data-parallel steps: how long gradients are under way and how much of that backward hides, beside
// the same processes training each on its own. Usage: npm run build && node scripts/bench-ddp.js
//   [-a ResNet-18] [-t base] [-b 8] [--img-size 224] [--nproc 2] [--threads 1] [--rounds 3] [--steps 4]
//   [--precision fp32] [--json]
//
// In each round all processes take --steps steps together and as many alone, after one that does not count.
// Memory is that of the first rank after the first round and after the last one.

import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { buildModel, initialState } from "repkit";
import { chooseEngine } from "repkit/engine";

const { values: options } = parseArgs({
  options: {
    arch: { type: "string", short: "a", default: "ResNet-18" },
    blocktype: { type: "string", short: "t", default: "base" },
    batch: { type: "string", short: "b", default: "8" },
    "img-size": { type: "string", default: "224" },
    nproc: { type: "string", default: "2" },
    threads: { type: "string", default: "1" },
    rounds: { type: "string", default: "3" },
    steps: { type: "string", default: "4" },
    precision: { type: "string", default: "fp32" },
    json: { type: "boolean", default: false },
    // Of the processes that this one starts.
    rank: { type: "string" },
    url: { type: "string", default: "" },
  },
});
const worldSize = Number(options.nproc);

/**
 * @typedef {object} Round
 * @property {number} together seconds per step
 * @property {number} alone
 * @property {number} communication seconds per step
 * @property {number} waited
 * @property {number} bytes per step, of gradients
 * @property {number} sent per step, by this process, as the kernel counts them; less what is sent alone
 * @property {number} memory resident bytes
 */

/** @param {number} rank */
async function run(rank) {
  const engine = await chooseEngine();
  const group = await engine.connect?.({ url: options.url, rank, worldSize, timeoutSeconds: 60 });
  if (group === undefined) throw new Error(`engine ${engine.name} trains in one process alone`);
  const size = Number(options["img-size"]);
  const { arch, blocktype: block } = options;
  const model = buildModel({ arch, block, imageSize: size });
  const state = initialState(model.graph, 0);
  const precision = /** @type {import("../src/engine/types.js").Precision} */ (options.precision);
  const common = { training: {}, precision, threads: Number(options.threads) };
  const together = await engine.load(model.graph, state, { ...common, group });
  const alone = await engine.load(model.graph, state, common);
  const count = Number(options.batch);
  const images = Uint8Array.from({ length: count * size * size * 3 }, (_, i) => (i * 7919) % 251);
  const batch = {
    images: { shape: [count, size, size, 3], data: images },
    labels: Int32Array.from({ length: count }, (_, i) => (i * 31 + rank) % 1000),
  };

  /** @param {import("../src/engine/types.js").Executable} network */
  const time = async (network) => {
    await network.trainStep(batch, { learningRate: 1e-3 });
    await group.barrier();
    const [before, sent, started] = [group.statistics(), written(), performance.now()];
    const steps = Number(options.steps);
    for (let s = 0; s < steps; s++) await network.trainStep(batch, { learningRate: 1e-3 });
    const seconds = (performance.now() - started) / 1000 / steps;
    const [after, sentLater] = [group.statistics(), written()];
    await group.barrier();
    const { communicationSeconds, waitedSeconds, bytes } = before;
    return {
      seconds,
      communication: (after.communicationSeconds - communicationSeconds) / steps,
      waited: (after.waitedSeconds - waitedSeconds) / steps,
      bytes: (after.bytes - bytes) / steps,
      sent: (sentLater - sent) / steps,
    };
  };
  /** @type {Round[]} */
  const rounds = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    const { seconds, ...rest } = await time(together);
    const own = await time(alone);
    const memory = process.memoryUsage.rss();
    rounds.push({
      together: seconds,
      alone: own.seconds,
      ...rest,
      sent: rest.sent - own.sent,
      memory,
    });
  }
  await group.close();
  process.send?.(rounds);
}

/** Bytes that this process has written, to sockets among others; NaN where the system does not say. */
function written() {
  try {
    const text = readFileSync("/proc/self/io", "utf8");
    return Number(/^wchar: (\d+)$/m.exec(text)?.[1]);
  } catch {
    return NaN;
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return address !== null && typeof address === "object" ? address.port : 0;
}

/** @param {readonly number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return ((sorted[sorted.length >> 1] ?? NaN) + (sorted[(sorted.length - 1) >> 1] ?? NaN)) / 2;
}

async function main() {
  const url = `tcp://127.0.0.1:${await freePort()}`;
  const script = fileURLToPath(import.meta.url);
  const results = await Promise.all(
    Array.from({ length: worldSize }, async (_, rank) => {
      const args = [...process.argv.slice(2), "--rank", String(rank), "--url", url];
      const child = fork(script, args);
      /** @type {unknown[]} */
      const answers = await Promise.race([once(child, "message"), once(child, "exit")]);
      if (typeof answers[0] !== "object") throw new Error(`rank ${rank} failed`);
      return /** @type {Round[]} */ (answers[0]);
    }),
  );
  const rounds = results[0] ?? [];
  /** @param {(round: Round) => number} value */
  const of = (value) => median(rounds.map(value));
  const bytes = of((round) => round.bytes);
  const report = {
    model: `${options.arch} x ${options.blocktype}`,
    ...{ nproc: worldSize, batch_per_process: Number(options.batch) },
    step_seconds: of((round) => round.together),
    alone_seconds: of((round) => round.alone),
    communication_seconds: of((round) => round.communication),
    waited_seconds: of((round) => round.waited),
    hidden_share: of((round) => 1 - round.waited / round.communication),
    gradient_bytes: bytes,
    sent_bytes: of((round) => round.sent),
    ring_factor: (2 * (worldSize - 1)) / worldSize,
    sent_over_gradient: of((round) => round.sent) / bytes,
    memory_bytes: [rounds[0]?.memory, rounds.at(-1)?.memory],
  };
  if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else console.log(report);
}

await (options.rank === undefined ? main() : run(Number(options.rank)));
