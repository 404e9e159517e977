// Measures what the training loop costs beyond its steps: `repkit train` on images beside `repkit bench step`
// on one batch in memory, in turn. Usage: npm run build && node scripts/bench-train-loop.js DATA [--rounds 4]
//   [-a ResNet-18] [-t base] [-b 64] [--img-size 64] [--steps 60] [-j 2] [--json]

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "4" },
    arch: { type: "string", short: "a", default: "ResNet-18" },
    blocktype: { type: "string", short: "t", default: "base" },
    batch: { type: "string", short: "b", default: "64" },
    "img-size": { type: "string", default: "64" },
    steps: { type: "string", default: "60" },
    workers: { type: "string", short: "j", default: "2" },
    json: { type: "boolean", default: false },
  },
});
const [data] = positionals;
if (data === undefined) {
  process.stderr.write("usage: bench-train-loop.js DATA [--rounds 4]\n");
  process.exit(2);
}
const program = fileURLToPath(new URL("../bin/repkit.js", import.meta.url));
const model = ["-a", options.arch, "-t", options.blocktype, "-b", options.batch];
const size = ["--img-size", options["img-size"]];
/** Steps that do not count: memory is allocated, code compiled, the first batch waited for. */
const WARMUP = 10;

/** @param {readonly string[]} args */
function repkit(args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr.trim());
  return stdout;
}

function step() {
  const counts = ["--steps", options.steps, "--warmup", String(WARMUP)];
  const text = repkit(["bench", "step", ...model, ...size, ...counts, "--json"]);
  /** @type {unknown} */
  const document = JSON.parse(text);
  const { seconds } = /** @type {{ seconds: number[] }} */ (document);
  return Number(options.batch) / mean(seconds);
}

/** Images per second over the steps after the warm-up, each with its wait for images. */
function train() {
  const folder = mkdtempSync(join(tmpdir(), "repkit-bench-"));
  try {
    const steps = String(Number(options.steps) + WARMUP);
    const limits = ["--max-steps", steps, "--epochs", "1000", "--print-freq", "1", "--lr", "0.001"];
    const images = ["--aug", "weak", "-j", options.workers];
    repkit([
      "train",
      data ?? "",
      ...model,
      ...size,
      ...limits,
      ...images,
      "--out",
      folder,
      "--quiet",
    ]);
    const lines = readFileSync(join(folder, "metrics.jsonl"), "utf8").trim().split("\n");
    const seconds = lines.flatMap((line) => {
      /** @type {unknown} */
      const value = JSON.parse(line);
      const metrics = /** @type {{ kind: string, step_seconds: number }} */ (value);
      return metrics.kind === "step" ? [metrics.step_seconds] : [];
    });
    return Number(options.batch) / mean(seconds.slice(WARMUP));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {readonly number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** @param {readonly number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return ((sorted[middle] ?? NaN) + (sorted[(sorted.length - 1) >> 1] ?? NaN)) / 2;
}

const rounds = Array.from({ length: Number(options.rounds) }, () => ({
  step: step(),
  train: train(),
}));
const result = {
  step_images_per_second: median(rounds.map((round) => round.step)),
  train_images_per_second: median(rounds.map((round) => round.train)),
  ratio: median(rounds.map((round) => round.train / round.step)),
  rounds,
};
process.stdout.write(
  options.json
    ? `${JSON.stringify(result)}\n`
    : `steps alone ${result.step_images_per_second.toFixed(1)} images/s, train ${result.train_images_per_second.toFixed(1)}: ${result.ratio.toFixed(3)}\n`,
);
