// Holds data-parallel training against torch.nn.parallel.DistributedDataParallel: the same model, weights and
// batches, as many processes over gloo. Exits with 1 where a loss or a weight of any rank differs by more than
// the tolerance, relative to the largest of its tensor.
// Usage: npm run build && node scripts/compare-ddp-pytorch.js [-a ResNet-18] [-t DBB] [-b 8] [--img-size 64]
//   [--nproc 2] [--steps 3] [--precision fp64] [--python PATH] [--json]
//
// In fp64 what remains is rounding; in fp32 both round the same sums in another order, and steps amplify that.

import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";

import { buildModel, initialState, openTensorFile, parametersOf, saveCheckpoint } from "repkit";
import { chooseEngine } from "repkit/engine";
import { graphToJson, toFloat64 } from "repkit/graph";

const TOLERANCES = { fp64: 1e-9, fp32: 1e-3 };

const { values: options } = parseArgs({
  options: {
    arch: { type: "string", short: "a", default: "ResNet-18" },
    blocktype: { type: "string", short: "t", default: "DBB" },
    batch: { type: "string", short: "b", default: "8" },
    "img-size": { type: "string", default: "64" },
    nproc: { type: "string", default: "2" },
    steps: { type: "string", default: "3" },
    precision: { type: "string", default: "fp64" },
    python: { type: "string", default: "/usr/bin/python3" },
    json: { type: "boolean", default: false },
  },
});
const precision = /** @type {"fp64" | "fp32"} */ (options.precision);
const tolerance = TOLERANCES[precision];
const [worldSize, count] = [Number(options.nproc), Number(options.batch)];
const size = Number(options["img-size"]);
const sgd = { lr: 0.01, momentum: 0.9, decay: 1e-4 };

const { arch, blocktype: block } = options;
const model = buildModel({ arch, block, imageSize: size });
const state = initialState(model.graph, 0);
const batches = Array.from({ length: Number(options.steps) }, (_, step) => {
  const data = new Uint8Array(count * size * size * 3);
  for (let i = 0; i < data.length; i++) data[i] = Math.imul(i + 7 * step + 1, 0x9e3779b1) >>> 24;
  return {
    images: { shape: [count, size, size, 3], data },
    labels: Int32Array.from({ length: count }, (_, i) => (i * 131 + step * 17) % 1000),
  };
});

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return address !== null && typeof address === "object" ? address.port : 0;
}

/** All ranks in this process, each with threads and connections of its own. */
async function ours() {
  const engine = await chooseEngine("torch");
  const url = `tcp://127.0.0.1:${await freePort()}`;
  return Promise.all(
    Array.from({ length: worldSize }, async (_, rank) => {
      const group = await engine.connect?.({ url, rank, worldSize, timeoutSeconds: 60 });
      if (group === undefined) throw new Error("no process groups");
      const { momentum, decay } = sgd;
      const training = { momentum, settings: () => ({ weightDecay: decay }) };
      const network = await engine.load(model.graph, state, {
        ...{ precision, training, group, threads: 1 },
      });
      const share = count / worldSize;
      const losses = [];
      for (const { images, labels } of batches) {
        const bytes = images.data.length / worldSize;
        const own = {
          images: {
            shape: [share, size, size, 3],
            data: images.data.slice(rank * bytes, (rank + 1) * bytes),
          },
          labels: labels.slice(rank * share, (rank + 1) * share),
        };
        losses.push((await network.trainStep(own, { learningRate: sgd.lr })).loss);
      }
      const result = (await network.state()).state;
      await group.barrier();
      await network.dispose();
      await group.close();
      return { losses, state: result };
    }),
  );
}

/** @param {string} folder */
async function theirs(folder) {
  const file = (/** @type {string} */ name) => join(folder, name);
  writeFileSync(file("graph.json"), graphToJson(model.graph));
  saveCheckpoint(file("state.pth"), { model, state });
  batches.forEach(({ images }, step) => {
    writeFileSync(file(`images${step}`), images.data);
  });
  const specification = {
    graph: file("graph.json"),
    state: file("state.pth"),
    images: batches.map((_, step) => file(`images${step}`)),
    labels: batches.map(({ labels }) => [...labels]),
    ...{ shape: [count, size, size, 3], worldSize, precision, ...sgd },
    ...{ port: await freePort(), out: file("result") },
  };
  writeFileSync(file("specification.json"), JSON.stringify(specification));
  const script = fileURLToPath(new URL("compare-ddp-pytorch.py", import.meta.url));
  return Promise.all(
    Array.from({ length: worldSize }, async (_, rank) => {
      const args = ["-B", script, file("specification.json"), String(rank)];
      const { stdout } = await promisify(execFile)(options.python, args, { maxBuffer: 2 ** 24 });
      /** @type {unknown} */
      const answer = JSON.parse(stdout);
      const { losses, torch } = /** @type {{ losses: number[], torch: string }} */ (answer);
      return { losses, torch, state: openTensorFile(file(`result${rank}.pth`)) };
    }),
  );
}

/**
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 */
function difference(a, b) {
  let [most, largest] = [0, 1e-6];
  for (let i = 0; i < b.length; i++) {
    most = Math.max(most, Math.abs((a[i] ?? NaN) - (b[i] ?? NaN)));
    largest = Math.max(largest, Math.abs(b[i] ?? NaN));
  }
  return most / largest;
}

const folder = mkdtempSync(join(tmpdir(), "repkit-compare-ddp-"));
try {
  const [repkit, pytorch] = [await ours(), await theirs(folder)];
  const names = parametersOf(model.graph).map(({ name }) => name);
  const ranks = repkit.map(({ losses, state: own }, rank) => {
    const other = pytorch[rank];
    if (other === undefined) throw new Error("a rank is missing");
    const tensors = names.map((name) => {
      const [a, b] = [own.get(name), other.state.get(name)];
      if (a === undefined || b === undefined) throw new Error(`no tensor ${name}`);
      return { name, difference: difference(toFloat64(a).data, toFloat64(b).data) };
    });
    const worst = tensors.reduce((x, y) => (y.difference > x.difference ? y : x));
    return { rank, loss_difference: difference(losses, other.losses), worst };
  });
  const isEqual = ranks.every(
    ({ loss_difference: loss, worst }) => loss <= tolerance && worst.difference <= tolerance,
  );
  const report = {
    model: `${arch} x ${block}`,
    ...{ nproc: worldSize, steps: batches.length, precision, torch: pytorch[0]?.torch },
    losses: repkit.map(({ losses }) => losses),
    pytorch_losses: pytorch.map(({ losses }) => losses),
    ...{ ranks, tolerance, equal: isEqual },
  };
  if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else console.dir(report, { depth: 4 });
  process.exitCode = isEqual ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}
