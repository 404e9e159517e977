// Holds `repkit test` against PyTorch: the same weights on the same images, with torchvision's PIL
// transforms there. Exits with 1 where the top-1 accuracy differs, or a logit by more than 1e-4 of the largest.
// Usage: npm run build && node scripts/compare-test-pytorch.js WEIGHTS.pth DATA [-a ARCH] [-t BLOCK]
//   [--img-size N] [--val-resize N] [-b 64] [-j N] [--threads N] [--python PATH] [--json]

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { loadCheckpoint } from "repkit";
import { graphToJson } from "repkit/graph";

const TOLERANCE = 1e-4; // of the largest logit

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arch: { type: "string", short: "a" },
    blocktype: { type: "string", short: "t" },
    "img-size": { type: "string" },
    "val-resize": { type: "string" },
    "batch-size": { type: "string", short: "b", default: "64" },
    workers: { type: "string", short: "j" },
    threads: { type: "string" },
    python: { type: "string", default: "/usr/bin/python3" },
    json: { type: "boolean", default: false },
  },
});
const { python, json, ...passed } = options;
const [weights, data] = positionals;
if (weights === undefined || data === undefined || positionals.length > 2) {
  throw new Error("expected WEIGHTS.pth and DATA");
}

const bin = fileURLToPath(new URL("../bin/repkit.js", import.meta.url));
const script = fileURLToPath(new URL("compare-test-pytorch.py", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "repkit-compare-"));

/**
 * The JSON document that a program prints.
 * @param {string} program
 * @param {readonly string[]} args
 */
function run(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? stderr}`);
  /** @type {unknown} */
  const document = JSON.parse(stdout);
  return /** @type {Record<string, number>} */ (document);
}

/**
 * What compare-test-pytorch.py prints.
 * @typedef {object} Report
 * @property {number} acc1
 * @property {number} acc5
 * @property {number} largest_logit
 * @property {number} max_difference
 * @property {string[]} other_top1 images whose first guess differs
 * @property {string} torch
 */

try {
  const logits = join(folder, "logits.safetensors");
  const flags = Object.entries(passed).flatMap(([name, value]) => [`--${name}`, value]);
  const common = ["--data", data, "--logits", logits, "--json", "--quiet"];
  const ours = run(process.execPath, [bin, "test", weights, ...common, ...flags]);

  const { arch, blocktype } = options;
  const checkpoint = loadCheckpoint(weights, {
    ...(arch === undefined ? {} : { arch }),
    ...(blocktype === undefined ? {} : { block: blocktype }),
    ...(ours["img_size"] === undefined ? {} : { imageSize: ours["img_size"] }),
  });
  checkpoint.close();
  const { model } = checkpoint;
  const graph = join(folder, "graph.json");
  writeFileSync(graph, graphToJson(model.graph));
  const sizes = [ours["img_size"], ours["val_resize"]].map(String);
  // -B: no compiled copy of pytorch_model.py in the working tree.
  const args = ["-B", script, graph, weights, String(ours["data"]), ...sizes, logits];
  const theirs = /** @type {Report} */ (/** @type {unknown} */ (run(python, args)));

  const relative = theirs.max_difference / theirs.largest_logit;
  const isEqual = ours["acc1"] === theirs.acc1 && relative <= TOLERANCE;
  const report = {
    model: `${model.arch} x ${model.block}, ${model.structure} structure`,
    ...{ images: ours["images"], img_size: ours["img_size"], torch: theirs.torch },
    repkit: { acc1: ours["acc1"], acc5: ours["acc5"] },
    pytorch: { acc1: theirs.acc1, acc5: theirs.acc5 },
    ...{ relative_difference: relative, tolerance: TOLERANCE },
    ...{ other_top1: theirs.other_top1, equal: isEqual },
  };
  if (json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else console.log(report);
  process.exitCode = isEqual ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}
