// The TensorFlow.js engine on its thread, which runs sources compiled for it.

import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe } from "@jest/globals";

import type { BackendName } from "../../src/engine/tfjs/backend.js";
import { tfjsEngine, type TfjsEngine } from "../../src/engine/tfjs/engine.js";
import { RepkitError } from "../../src/errors.js";
import { compileSources } from "./compiled.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What the thread imports. */
const SOURCES = [
  "errors.ts",
  ...["util", "linalg", "linalg/wasm", "addons", "graph", "graph/interpreter", "engine"],
  ...["engine/tfjs", "engine/tfjs/node", "engine/tfjs/wasm"],
];

/** The compiled worker; the folder goes when the process does. */
export function compileWorker(): string {
  const folder = mkdtempSync(join(tmpdir(), "repkit-tfjs-"));
  // As in the package: tfjs-node's addon is looked up by the sources beside dist/.
  const dist = join(folder, "dist");
  compileSources(dist, SOURCES);
  for (const name of ["node_modules", "native", "package.json"]) {
    symlinkSync(join(ROOT, name), join(folder, name));
  }
  process.on("exit", () => {
    rmSync(folder, { recursive: true, force: true });
  });
  return join(dist, "engine/tfjs/worker.js");
}

export function startTfjs(name: BackendName): Promise<TfjsEngine> {
  return tfjsEngine(name, compileWorker());
}

/**
 * The tests of `body` on that backend; where it is not there, a skipped suite whose name says why.
 * With REPKIT_TEST_TFJS_NODE=1 that is an error for tfjs-node.
 */
export async function describeTfjs(
  what: string,
  name: BackendName,
  body: (engine: TfjsEngine) => void,
): Promise<void> {
  let engine: TfjsEngine;
  try {
    engine = await startTfjs(name);
  } catch (error) {
    const isAbsent = error instanceof RepkitError && error.kind === "environment";
    if (!isAbsent || (name === "node" && process.env["REPKIT_TEST_TFJS_NODE"] === "1")) throw error;
    describe.skip(`${what}, skipped: ${error.message}`, () => body(absentEngine(name)));
    return;
  }
  describe(`${what}: ${engine.description}`, () => body(engine));
}

function absentEngine(name: BackendName): TfjsEngine {
  return {
    ...{ name: `tfjs:${name}`, description: "not there", devices: [] },
    load: () => Promise.reject(new Error("a skipped test ran")),
  };
}
