// Before a run of all tests: the torch engine's addon is compiled from the sources as they are, where there
// is a libtorch. Without one, and without a compiler, the engine's tests are skipped; sources that do not
// compile fail the run. A run of a few files compiles nothing: `repkit build torch` does.

import { existsSync } from "node:fs";

const built = new URL("../dist/engine/torch/build.js", import.meta.url);

/** @param {import("jest").Config & { testPathPatterns: { patterns: readonly string[] } }} config */
export default async function globalSetup({ testPathPatterns }) {
  // Test files run side by side; see docs/engines.md on shared cores. Workers inherit it.
  process.env["GOMP_SPINCOUNT"] ??= "10000";
  if (testPathPatterns.patterns.length > 0 || !existsSync(built)) return;
  /** @type {unknown} */
  const module = await import(built.href);
  const { ensureAddon } = /** @type {typeof import("../src/engine/torch/build.js")} */ (module);
  try {
    await ensureAddon({
      onEvent: (event) => {
        if (event.kind !== "compiling") return;
        process.stderr.write(`compiling the torch engine (${event.units} units)\n`);
      },
    });
  } catch (error) {
    const { details, message } = /** @type {import("../src/errors.js").RepkitError} */ (error);
    if (details?.["reason"] !== "no-library" && details?.["reason"] !== "no-compiler") throw error;
    process.stderr.write(`torch engine not tested: ${message}\n`);
  }
}
