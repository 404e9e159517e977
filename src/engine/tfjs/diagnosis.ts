/** What `repkit doctor` says about the tfjs engine; nothing of TensorFlow.js is loaded for it. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import type { EngineReport } from "../doctor.js";
import type { BackendName } from "./backend.js";
import { diagnoseTfjsNode } from "./node/diagnosis.js";

const REINSTALL = "npm install repkit";

/** A row for each backend, best first. */
export function diagnoseTfjs(env: NodeJS.ProcessEnv = process.env): readonly EngineReport[] {
  return [
    diagnoseTfjsNode("tfjs-node-gpu", { env }),
    diagnoseTfjsNode("tfjs-node", { env }),
    diagnosePackage("wasm", "dist/tfjs-backend-wasm-simd.wasm"),
    diagnosePackage("cpu", "dist/tf-backend-cpu.node.js"),
  ];
}

/** `file`: what the package is nothing without. */
function diagnosePackage(backend: BackendName, file: string): EngineReport {
  const name = `tfjs:${backend}`;
  const packageName = `@tensorflow/tfjs-backend-${backend}`;
  try {
    const require = createRequire(import.meta.url);
    const folder = dirname(dirname(require.resolve(packageName)));
    const path = join(folder, file);
    if (!existsSync(path)) throw new Error(`${path} is missing`);
    const manifest = readFileSync(join(folder, "package.json"), "utf8");
    const { version } = JSON.parse(manifest) as { version: string };
    return { name, ok: true, version, devices: ["cpu"], path, problems: [] };
  } catch (error) {
    const [reason] = error instanceof Error ? error.message.split("\n") : [];
    const problem = `the package ${packageName} is not installed whole: ${reason}`;
    return { name, ok: false, problems: [{ problem, fix: REINSTALL }] };
  }
}
