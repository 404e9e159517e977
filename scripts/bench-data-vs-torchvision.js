// Measures the loader against torchvision's PIL pipeline: the same files, transforms and cores, in turn.
// Usage: npm run build && node scripts/bench-data-vs-torchvision.js DIR [--rounds 5] [--workers 1]
//   [--img-size 224] [--python PATH] [--json]
//
// DIR holds class folders. Compared is CPU time per image over all threads of a process, which neighbours
// disturb least; images per second and core are its inverse. Where taskset is to be had, everyone runs on one
// core: two threads on two cores get in each other's way. torchvision ends with a PIL image, repkit with the
// bytes of a batch: neither converts to floats. Each round runs everyone once; the medians count.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    workers: { type: "string", default: "1" },
    "img-size": { type: "string", default: "224" },
    python: { type: "string", default: "/usr/bin/python3" },
    json: { type: "boolean", default: false },
  },
});
const [folder] = positionals;
if (folder === undefined) {
  process.stderr.write("usage: bench-data-vs-torchvision.js DIR [--rounds 5]\n");
  process.exit(2);
}
const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
const count = files.filter((file) => /\.(jpe?g|png|webp|bmp|tiff?|p[pg]m)$/i.test(file)).length;
const BATCH = 40;
/** Epochs of whole batches. JavaScript is compiled while the first images come. */
const STEPS = Math.max(1, 5 * Math.floor(count / BATCH));
const WARMUP = Math.max(1, 3 * Math.floor(count / BATCH));
const core = String(availableParallelism() - 1);
const canPin = spawnSync("taskset", ["-c", core, "true"]).status === 0;

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {Record<string, string>} [env]
 * @returns {Record<string, number>}
 */
function run(program, args, env = {}) {
  const command = canPin ? ["taskset", "-c", core, program, ...args] : [program, ...args];
  const { status, stdout, stderr } = spawnSync(command[0] ?? "", command.slice(1), {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  if (status !== 0) throw new Error(`${program} failed: ${stderr.trim()}`);
  /** @type {unknown} */
  const answer = JSON.parse(stdout);
  return /** @type {Record<string, number>} */ (answer);
}

const script = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));

/**
 * @param {"train" | "val"} mode
 * @param {Record<string, string>} env
 */
function repkit(mode, env) {
  const flags = [
    "--mode",
    mode,
    "-j",
    options.workers,
    "--img-size",
    options["img-size"],
    "--json",
  ];
  const measure = ["-b", String(BATCH), "--steps", String(STEPS), "--warmup", String(WARMUP)];
  const program = script("../bin/repkit.js");
  return run(process.execPath, [program, "bench", "data", folder ?? "", ...flags, ...measure], env);
}

/** @param {"train" | "val"} mode */
function torchvision(mode) {
  const args = [script("bench-data-vs-torchvision.py"), folder ?? "", mode, options["img-size"]];
  return run(options.python, ["-B", ...args]);
}

/** @param {readonly number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

const contestants = {
  torchvision,
  native: (/** @type {"train" | "val"} */ mode) => repkit(mode, {}),
  portable: (/** @type {"train" | "val"} */ mode) => repkit(mode, { REPKIT_JPEG: "portable" }),
};
const names = /** @type {(keyof typeof contestants)[]} */ (Object.keys(contestants));
/** @type {Record<string, Record<string, number>>} */
const results = {};
for (const mode of /** @type {const} */ (["train", "val"])) {
  /** @type {Record<string, number[]>} */
  const times = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const name of names) {
      times[name]?.push(contestants[name](mode)["cpu_milliseconds_per_image"] ?? NaN);
    }
    process.stderr.write(`${mode}: round ${round + 1} of ${options.rounds}\n`);
  }
  const reference = median(times["torchvision"] ?? []);
  for (const name of names) {
    const milliseconds = median(times[name] ?? []);
    results[`${mode} ${name}`] = {
      cpu_milliseconds_per_image: milliseconds,
      images_per_second_and_core: 1000 / milliseconds,
      ratio: reference / milliseconds,
    };
  }
}

if (options.json) {
  process.stdout.write(`${JSON.stringify({ images: count, results })}\n`);
} else {
  for (const [name, { cpu_milliseconds_per_image: time = NaN, ratio = NaN }] of Object.entries(
    results,
  )) {
    const speed = (1000 / time).toFixed(0).padStart(5);
    process.stdout.write(
      `${name.padEnd(18)} ${time.toFixed(2).padStart(6)} ms  ${speed} images/s/core  ${ratio.toFixed(2)}x\n`,
    );
  }
}
