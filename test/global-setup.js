// Before a run of all tests: the addons are compiled from the sources as they are, where their libraries
// are. Without one, and without a compiler, the tests of an addon are skipped; sources that do not compile
// fail the run; nothing is downloaded. A run of a few files compiles nothing: `repkit build torch` does.

import { existsSync } from "node:fs";

const builtTorch = new URL("../dist/engine/torch/build.js", import.meta.url);
const builtJpeg = new URL("../dist/data/jpeg/build.js", import.meta.url);
const builtLinalg = new URL("../dist/linalg/build.js", import.meta.url);
const builtTfjsNode = new URL("../dist/engine/tfjs/node/build.js", import.meta.url);

/** @param {import("jest").Config & { testPathPatterns: { patterns: readonly string[] } }} config */
export default async function globalSetup({ testPathPatterns }) {
  // Test files run side by side; see docs/engines.md on shared cores. Workers inherit it.
  process.env["GOMP_SPINCOUNT"] ??= "10000";
  process.env["TF_CPP_MIN_LOG_LEVEL"] ??= "2";
  if (testPathPatterns.patterns.length > 0) return;
  if (existsSync(builtTorch)) {
    /** @type {unknown} */
    const module = await import(builtTorch.href);
    const { ensureAddon } = /** @type {typeof import("../src/engine/torch/build.js")} */ (module);
    await ensure("torch engine", () => ensureAddon({ onEvent: sayOf("torch engine") }));
  }
  if (existsSync(builtJpeg)) {
    /** @type {unknown} */
    const module = await import(builtJpeg.href);
    const { ensureJpegAddon } = /** @type {typeof import("../src/data/jpeg/build.js")} */ (module);
    await ensure("jpeg addon", () => ensureJpegAddon({ onEvent: sayOf("jpeg addon") }));
  }
  if (existsSync(builtLinalg)) {
    /** @type {unknown} */
    const module = await import(builtLinalg.href);
    const { ensureLinalgAddon } = /** @type {typeof import("../src/linalg/build.js")} */ (module);
    await ensure("linalg addon", () => ensureLinalgAddon({ onEvent: sayOf("linalg addon") }));
  }
  if (existsSync(builtTfjsNode)) {
    /** @type {unknown} */
    const module = await import(builtTfjsNode.href);
    const { refreshTfjsNode } = /** @type {typeof import("../src/engine/tfjs/node/build.js")} */ (
      module
    );
    await ensure("tfjs-node", () => refreshTfjsNode({ onEvent: sayOf("tfjs-node addon") }));
  }
}

/**
 * @param {string} what
 * @returns {(event: { kind: string, units?: number }) => void}
 */
function sayOf(what) {
  return ({ kind, units }) => {
    if (kind === "compiling") process.stderr.write(`compiling the ${what} (${units} units)\n`);
  };
}

/**
 * @param {string} what
 * @param {() => Promise<unknown>} build
 */
async function ensure(what, build) {
  try {
    await build();
  } catch (error) {
    const { details, message } = /** @type {import("../src/errors.js").RepkitError} */ (error);
    if (details?.["reason"] !== "no-library" && details?.["reason"] !== "no-compiler") throw error;
    process.stderr.write(`${what} not tested: ${message}\n`);
  }
}
