// The newcomer's first minutes as one program: sets up what is missing, draws images, trains ResNet-18 x DBB
// on them, folds it, tests both forms, verifies, and closes with a table.
// Usage: npm run quickstart [-- FOLDER]   (default: runs/quickstart; Node alone is needed to begin)
//
// Everything is done by scripts/setup and the command line, whose results are read as --json, so this is also
// an example of driving repkit from a program. Exit codes are those of the command that failed.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const REPKIT = join(ROOT, "bin", "repkit.js");
/** Left in the folder, so that only a folder of ours is ever emptied. */
const MARKER = "made-by-quickstart";

/** How many pictures of each class, and what the recipe sample-data is told on top. */
const SETTINGS = {
  torch: { train: 80, val: 25, flags: [] },
  other: { train: 40, val: 25, flags: ["--img-size", "32", "--val-resize", "37", "--epochs", "2"] },
};

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
 * @returns {Promise<any>} the document, as docs/cli.md describes it for that command
 */
async function repkit(...args) {
  say(`\n$ repkit ${args.join(" ")}`);
  return JSON.parse(await run(process.execPath, [REPKIT, ...args, "--json"]));
}

/** The names of the engines that can run here; none where the checkout is not set up. */
function engines() {
  if (!existsSync(join(ROOT, "dist", "cli", "main.js"))) return [];
  const { stdout } = spawnSync(process.execPath, [REPKIT, "doctor", "--json"], {
    encoding: "utf8",
  });
  try {
    /** @type {{engines: {name: string, ok: boolean}[]}} */
    const report = JSON.parse(stdout);
    return report.engines.filter(({ ok }) => ok).map(({ name }) => name);
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
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, MARKER), "emptied by the next npm run quickstart\n");
}

/** @param {{acc1: number, images: number}} result */
const right = ({ acc1, images }) => Math.round((acc1 * images) / 100);

/** @param {string} folder */
async function main(folder) {
  const started = performance.now();
  const available = await setUp();
  prepare(folder);
  const isFast = available.includes("torch");
  const settings = isFast ? SETTINGS.torch : SETTINGS.other;
  if (!isFast) {
    say(`\nno libtorch: training on ${available[0]}, which is slower, so the run is smaller`);
  }
  const [data, out] = [join(folder, "data"), join(folder, "run")];
  const deployed = join(folder, "deployed.ckpt");
  const best = join(out, "best.ckpt");
  await repkit(
    ...["sample-data", data, "--classes", "4"],
    ...["--train", `${settings.train}`, "--val", `${settings.val}`],
  );
  await repkit("train", data, "--config", "sample-data", "--out", out, ...settings.flags);
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
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, MARKER), "emptied by the next npm run quickstart\n");
}

/** @param {{acc1: number, images: number}} result */
const right = ({ acc1, images }) => Math.round((acc1 * images) / 100);

/** @param {string} folder */
async function main(folder) {
  const started = performance.now();
  const available = await setUp();
  prepare(folder);
  const isFast = available.includes("torch");
  const settings = isFast ? SETTINGS.torch : SETTINGS.other;
  if (!isFast) {
    say(`\nno libtorch: training on ${available[0]}, which is slower, so the run is smaller`);
  }
  const [data, out] = [join(folder, "data"), join(folder, "run")];
  const deployed = join(folder, "deployed.ckpt");
  const best = join(out, "best.ckpt");
  await repkit(
    ...["sample-data", data, "--classes", `${settings.classes}`],
    ...["--train", `${settings.train}`, "--val", `${settings.val}`],
  );
  const resize = Math.round((settings.imgSize * 256) / 224);
  await repkit(
    ...["train", data, "-a", "ResNet-18", "-t", "DBB", "--config", "cpu-small", "--out", out],
    ...["--img-size", `${settings.imgSize}`, "--val-resize", `${resize}`],
    ...["-b", `${settings.batchSize}`, "--epochs", `${settings.epochs}`, "--lr", `${settings.lr}`],
  );
  const before = await repkit("test", data, best);
  const conversion = await repkit("convert", best, deployed);
  const after = await repkit("test", data, deployed);
  const report = await repkit("verify", best);
  const [verified] = report.cases;

  const MB = (/** @type {string} */ file) => statSync(resolve(ROOT, file)).size / 1e6;
  // best.ckpt holds the weights alone, as the deployed file does.
  print([
    ["", "trained", "deployed", ""],
    [
      "right answers",
      ...[before, after].map((one) => `${right(one)} of ${one.images}`),
      right(before) === right(after) ? "equal" : "DIFFERENT",
    ],
    ["accuracy, %", before.acc1.toFixed(2), after.acc1.toFixed(2), ""],
    ["time per batch, ms", ...pair(verified.train_ms, verified.deploy_ms, 1)],
    ["parameters, M", ...pair(conversion.params_before / 1e6, conversion.params_after / 1e6, 2)],
    ["multiply-adds, M", ...pair(conversion.macs_before / 1e6, conversion.macs_after / 1e6, 0)],
    ["file, MB", ...pair(MB(best), MB(deployed), 1)],
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
  if (right(before) !== right(after) || report.failed > 0) {
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
  const widths = [0, 1, 2, 3].map((i) => Math.max(...rows.map((row) => (row[i] ?? "").length)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === 0 || i === 3 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join("  ")
      .trimEnd(),
  );
  process.stdout.write(`\nResNet-18 x DBB\n${lines.join("\n")}\n`);
}

const [major, minor] = process.versions.node.split(".").map(Number);
try {
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new Failure(`needs Node 20.19 or newer; this is ${process.versions.node}`, 7);
  }
  const [, , folder = join(ROOT, "runs", "quickstart"), ...more] = process.argv;
  if (folder.startsWith("-") || more.length > 0) {
    throw new Failure("usage: npm run quickstart [-- FOLDER]", 2);
  }
  const place = relative(ROOT, resolve(folder)); // commands run in ROOT, and are shown shorter so
  await main(place.startsWith("..") ? resolve(folder) : place);
} catch (error) {
  const { message, code } = /** @type {Failure} */ (error);
  say(`quickstart: ${message}`);
  process.exitCode = typeof code === "number" ? code : typeof code === "string" ? 3 : 1; // EACCES and such
}
