// What data-parallel training may come to on more GPUs than there are: a projection from the seconds of a step on
// one GPU and the bandwidths of the links, by the formulas of docs/distributed.md. Nothing is measured here.
// Usage: node scripts/project-scaling.js --step 0.104 --parameters 25.6e6 [--images 256] [--gpus-per-node 8]
//   [--inside 200] [--between 25] [--bucket 25] [--backward 0.67]
//
// --inside, --between: GB/s of one GPU within a node, and of one node to the others. --bucket: MB.

import { parseArgs } from "node:util";

const text = (/** @type {string} */ value) =>
  /** @type {const} */ ({ type: "string", default: value });
const { values } = parseArgs({
  options: {
    ...{ step: text("0.104"), parameters: text("25.6e6"), images: text("256") },
    ...{ "gpus-per-node": text("8"), inside: text("200"), between: text("25") },
    ...{ bucket: text("25"), backward: text("0.67") },
  },
});
const step = Number(values.step);
const bytes = 4 * Number(values.parameters);
const perNode = Number(values["gpus-per-node"]);

/** Seconds that an all-reduce of the gradients takes: within each node, then between the nodes. */
function communication(/** @type {number} */ gpus) {
  const nodes = Math.ceil(gpus / perNode);
  const local = Math.min(gpus, perNode);
  const ring = (/** @type {number} */ n, /** @type {number} */ gigabytes) =>
    (((2 * (n - 1)) / n) * bytes) / (gigabytes * 1e9);
  return ring(local, Number(values.inside)) + ring(nodes, Number(values.between));
}

/** Of them, those that backward does not hide: the last bucket always, and what is longer than backward. */
function exposed(/** @type {number} */ gpus) {
  const all = communication(gpus);
  const last = Math.min(1, (Number(values.bucket) * 1e6) / bytes);
  return Math.max(all * last, all - step * Number(values.backward) * (1 - last));
}

process.stdout.write("GPUs  communication ms  exposed ms  efficiency  images/s  (projection)\n");
for (const gpus of [1, 2, 8, 16, 64]) {
  const seconds = step + (gpus === 1 ? 0 : exposed(gpus));
  const columns = [
    String(gpus).padStart(4),
    (1000 * communication(gpus)).toFixed(1).padStart(18),
    (gpus === 1 ? 0 : 1000 * exposed(gpus)).toFixed(1).padStart(10),
    `${((100 * step) / seconds).toFixed(1)} %`.padStart(10),
    ((gpus * Number(values.images)) / seconds).toFixed(0).padStart(8),
  ];
  process.stdout.write(`${columns.join("  ")}\n`);
}
