// Measures `repkit convert` against the same conversion in PyTorch, as whole processes, in turn.
// Usage: npm run build && node scripts/bench-convert.js [--rounds N] [--python PATH] [--json]

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { buildModel, initialState, openTensorFile, saveCheckpoint } from "repkit";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    python: { type: "string", default: "/usr/bin/python3" },
    json: { type: "boolean", default: false },
  },
});
const bin = fileURLToPath(new URL("../bin/repkit.js", import.meta.url));
const script = fileURLToPath(new URL("bench-convert.py", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "repkit-bench-"));

const models = [
  { name: "resnet50-dbb", arch: "ResNet-50", block: "DBB" },
  { name: "repvgg-b3", arch: "RepVGG-B3", block: "RepVGG" },
];

/**
 * Wall time in seconds and peak memory in bytes (0 where it cannot be read) of one process that writes `output`.
 * @param {string} output
 * @param {string} program
 * @param {string[]} args
 */
function run(output, program, args) {
  rmSync(output, { force: true });
  // What the process before has left to be written is not this one's; ext4 would have it wait for that.
  spawnSync("sync");
  const report = join(folder, "time.txt");
  const time = "/usr/bin/time";
  const timed = existsSync(time);
  const started = performance.now();
  const { status, stderr } = timed
    ? spawnSync(time, ["-f", "%M", "-o", report, program, ...args])
    : spawnSync(program, args);
  const seconds = (performance.now() - started) / 1000;
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr.toString()}`);
  const kilobytes = timed ? Number(readFileSync(report, "utf8").trim().split("\n").at(-1)) : 0;
  return { seconds, memory: kilobytes * 1024 };
}

/** @param {readonly number[]} values */
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

/**
 * The largest difference of any element, relative to the largest element of its tensor.
 * @param {string} ours
 * @param {string} theirs
 */
function difference(ours, theirs) {
  const [a, b] = [openTensorFile(ours), openTensorFile(theirs)];
  let worst = 0;
  for (const name of b.tensors.keys()) {
    const [x, y] = [a.get(name)?.data ?? [], b.get(name)?.data ?? []];
    let [scale, largest] = [0, x.length === y.length ? 0 : Infinity];
    for (let i = 0; i < y.length; i++) {
      scale = Math.max(scale, Math.abs(Number(y[i])));
      largest = Math.max(largest, Math.abs(Number(x[i]) - Number(y[i])));
    }
    if (largest > 0) worst = Math.max(worst, largest / scale);
  }
  a.close();
  b.close();
  return worst;
}

try {
  const rows = models.map(({ name, arch, block }) => {
    const source = join(folder, `${name}.pth`);
    const model = buildModel({ arch, block });
    saveCheckpoint(source, { model, state: initialState(model.graph, 0) });
    const [ours, theirs] = [join(folder, "ours.pth"), join(folder, "theirs.pth")];
    /** @type {Record<string, { seconds: number[], memory: number }>} */
    const results = {};
    const note = (/** @type {string} */ key, /** @type {ReturnType<typeof run>} */ result) => {
      const entry = (results[key] ??= { seconds: [], memory: 0 });
      entry.seconds.push(result.seconds);
      entry.memory = Math.max(entry.memory, result.memory);
    };
    for (let round = 0; round < Number(options.rounds); round++) {
      note("pytorch", run(theirs, options.python, [script, name, source, theirs]));
      note("repkit", run(ours, process.execPath, [bin, "convert", source, ours]));
      note(
        "unverified",
        run(ours, process.execPath, [bin, "convert", source, ours, "--no-verify"]),
      );
    }
    const seconds = (/** @type {string} */ key) => median(results[key]?.seconds ?? []);
    return {
      model: `${arch} x ${block}`,
      file_bytes: statSync(source).size,
      pytorch_seconds: seconds("pytorch"),
      repkit_seconds: seconds("repkit"),
      repkit_no_verify_seconds: seconds("unverified"),
      ratio: seconds("pytorch") / seconds("repkit"),
      ratio_no_verify: seconds("pytorch") / seconds("unverified"),
      memory_over_file: (results["repkit"]?.memory ?? 0) / statSync(source).size,
      largest_difference: difference(ours, theirs),
    };
  });
  if (options.json) process.stdout.write(`${JSON.stringify(rows)}\n`);
  else console.table(rows);
} finally {
  rmSync(folder, { recursive: true });
}
