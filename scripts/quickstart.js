// The newcomer's first minutes as one program: sets up what is missing, draws images, trains ResNet-18 x DBB
// on them, folds it, tests both forms, verifies, and closes with a table.
// Usage: npm run quickstart [-- FOLDER --epochs N --train N]   (runs/quickstart, 4 epochs, 80 images of each
// class with libtorch). Node alone is needed to begin.
//
// Everything is done by scripts/setup and the command line, whose results are read as --json, so this is also
// an example of driving repkit from a program. Exit codes are those of the command that failed.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const REPKIT = join(ROOT, "bin", "repkit.js");
/** Left in the folder, so that only a folder of ours is ever emptied. */
const MARKER = "made-by-quickstart";

/** Epochs, pictures of each class, and what the recipe sample-data is told on top. */
const SETTINGS = {
  torch: { epochs: "4", train: "80", flags: [] },
  other: { epochs: "2", train: "40", flags: ["--img-size", "32", "--val-resize", "37"] },
};

/**
 * What is read of the documents of `test`, `convert` and `verify`.
 * @typedef {{acc1: number, images: number}} Accuracy
 * @typedef {{params_before: number, params_after: number, macs_before: number, macs_after: number}} Conversion
 * @typedef {{max_abs_diff: number, tolerance: number, train_ms: number, deploy_ms: number}} Case
 */

class Failure extends Error {
  /**
   * @param {string} message one line
   * @param {number} code
   */
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/** @param {string} text */
const say = (text) => process.stderr.write(`${text}\n`);

/**
 * Runs a program whose progress people see; what it prints is the result.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {"pipe" | "inherit"} [stdout]
 * @returns {Promise<string>}
 */
async function run(program, args, stdout = "pipe") {
  const child = spawn(program, args, { cwd: ROOT, stdio: ["ignore", stdout, "inherit"] });
  // Ctrl-C reaches the child by itself, which saves and ends; other stops are handed on.
  const forward = () => child.kill("SIGTERM");
  const wait = () => undefined;
  process.on("SIGTERM", forward).on("SIGINT", wait);
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (/** @type {string} */ text) => (output += text));
  try {
    const [code, signal] = await /** @type {Promise<[number | null, string | null]>} */ (
      new Promise((done, fail) => {
        child.on("error", fail).on("close", (...end) => done(end));
      })
    );
    if (code === 130 || code === 143 || signal === "SIGINT" || signal === "SIGTERM") {
      const stopped = code ?? (signal === "SIGINT" ? 130 : 143);
      throw new Failure("stopped; `npm run quickstart` begins anew", stopped);
    }
    if (code !== 0) {
      const shown = program === process.execPath ? `repkit ${args[1]}` : relative(ROOT, program);
      throw new Failure(`${shown} failed, for the reason above`, code ?? 1);
    }
    return output;
  } finally {
    process.off("SIGTERM", forward).off("SIGINT", wait);
  }
}

/**
 * A command of repkit, shown as one would type it; returns its JSON document.
 * @param {readonly string[]} args
 * @returns {Promise<unknown>} the document
 */
async function repkit(...args) {
  say(`\n$ repkit ${args.join(" ")}`);
  /** @type {unknown} */
  const result = JSON.parse(await run(process.execPath, [REPKIT, ...args, "--json"]));
  return result;
}

/** The names of the engines that can run here; none where the checkout is not set up. */
function engines() {
  if (!existsSync(join(ROOT, "dist", "cli", "main.js"))) return [];
  const { stdout } = spawnSync(process.execPath, [REPKIT, "doctor", "--json"], {
    encoding: "utf8",
  });
  try {
    /** @type {unknown} */
    const report = JSON.parse(stdout);
    const { engines } = /** @type {{engines: {name: string, ok: boolean}[]}} */ (report);
    return engines.filter(({ ok }) => ok).map(({ name }) => name);
  } catch {
    return [];
  }
}

async function setUp() {
  const isWanted = process.env["REPKIT_LIBTORCH"] !== "none";
  const before = engines();
  if (before.includes("torch") || (before.length > 0 && !isWanted)) return before;
  say("$ scripts/setup");
  await run(join(ROOT, "scripts", "setup"), [], "inherit");
  const after = engines();
  if (after.length > 0) return after;
  throw new Failure("no engine can run here; `node bin/repkit.js doctor` says what is missing", 7);
}

/**
 * An empty folder: a new one, or that of an earlier quickstart.
 * @param {string} folder
 */
function prepare(folder) {
  folder = resolve(ROOT, folder);
  if (existsSync(folder) && !existsSync(join(folder, MARKER)) && readdirSync(folder).length > 0) {
    throw new Failure(`${folder} is not empty; name a folder that does not exist yet`, 3);
  }
  rmSync(folder, { recursive: true, force: true });
  makeFolder(folder);
  writeFileSync(join(folder, MARKER), "emptied by the next npm run quickstart\n");
}

/**
 * mkdirSync's own `recursive` calls a read-only file system ENOENT.
 * @param {string} folder
 */
function makeFolder(folder) {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  mkdirSync(folder);
}

/** @param {Accuracy} result */
const right = ({ acc1, images }) => Math.round((acc1 * images) / 100);

/**
 * @param {string} folder
 * @param {{epochs?: string, train?: string}} wishes
 */
async function main(folder, wishes) {
  const started = performance.now();
  prepare(folder);
  const available = await setUp();
  const isFast = available.includes("torch");
  const { epochs, train, flags } = { ...(isFast ? SETTINGS.torch : SETTINGS.other), ...wishes };
  if (!isFast) {
    say(`\nno libtorch: training on ${available[0]}, which is slower, so the run is smaller`);
  }
  const [data, out] = [join(folder, "data"), join(folder, "run")];
  const deployed = join(folder, "deployed.ckpt");
  const best = join(out, "best.ckpt");
  await repkit("sample-data", data, "--classes", "4", "--train", train, "--val", "25");
  await repkit(
    ...["train", data, "--config", "sample-data", "--epochs", epochs, "--out", out],
    ...flags,
  );
  const before = /** @type {Accuracy} */ (await repkit("test", data, best));
  const conversion = /** @type {Conversion} */ (await repkit("convert", best, deployed));
  const after = /** @type {Accuracy} */ (await repkit("test", data, deployed));
  const { cases } = /** @type {{cases: [Case]}} */ (await repkit("verify", best));
  const [verified] = cases;

  const MB = (/** @type {string} */ file) => statSync(resolve(ROOT, file)).size / 1e6;
  print([
    ["", "trained", "deployed", ""],
    [
      "right answers",
      ...[before, after].map((one) => `${right(one)} of ${one.images}`),
      right(before) === right(after) ? "equal" : "DIFFERENT",
    ],
    ["accuracy, %", before.acc1.toFixed(2), after.acc1.toFixed(2), ""],
    ["one image, ms", ...pair(verified.train_ms, verified.deploy_ms, 1)],
    ["parameters, M", ...pair(conversion.params_before / 1e6, conversion.params_after / 1e6, 2)],
    ["multiply-adds, M", ...pair(conversion.macs_before / 1e6, conversion.macs_after / 1e6, 0)],
    ["file, MB (trained: with momentum)", ...pair(MB(best), MB(deployed), 1)],
    [
      "largest difference",
      "",
      verified.max_abs_diff.toExponential(1),
      `of ${verified.tolerance.toExponential(1)} allowed`,
    ],
  ]);
  say(
    `\n${((performance.now() - started) / 1000).toFixed(0)} s; curves: ${join(out, "report.html")}`,
  );
  if (right(before) !== right(after)) {
    throw new Failure("the deployed model is not the trained one; please report this", 4);
  }
}

/**
 * @param {number} trained
 * @param {number} deployed
 * @param {number} digits
 */
function pair(trained, deployed, digits) {
  const factor = `${(trained / deployed).toFixed(2)}x`;
  return [trained.toFixed(digits), deployed.toFixed(digits), factor];
}

/** @param {readonly string[][]} rows */
function print(rows) {
  const width = (/** @type {number} */ i) => Math.max(...rows.map((row) => row[i]?.length ?? 0));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(width(i)) : cell.padStart(width(i))))
      .join("  ")
      .trimEnd(),
  );
  process.stdout.write(`\nResNet-18 x DBB\n${lines.join("\n")}\n`);
}

function parse() {
  const options = /** @type {const} */ ({ epochs: { type: "string" }, train: { type: "string" } });
  try {
    const parsed = parseArgs({ allowPositionals: true, options });
    if (parsed.positionals.length < 2) return parsed;
  } catch {
    // The same answer for whatever is wrong.
  }
  throw new Failure("usage: npm run quickstart [-- FOLDER --epochs N --train N]", 2);
}

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
try {
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new Failure(`needs Node 20.19 or newer; this is ${process.versions.node}`, 7);
  }
  const { values, positionals } = parse();
  const [folder = join(ROOT, "runs", "quickstart")] = positionals;
  const place = relative(ROOT, resolve(folder)); // commands run in ROOT, and are shown shorter so
  await main(place.startsWith("..") ? resolve(folder) : place, values);
} catch (error) {
  const { message, code } = /** @type {Failure} */ (error);
  say(`quickstart: ${message}`);
  process.exitCode = typeof code === "number" ? code : typeof code === "string" ? 3 : 1; // EACCES and such
}
