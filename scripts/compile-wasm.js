// Compiles the .wat files of src/ and writes each as base64 into a TypeScript file beside it, which is
// committed: no build of repkit needs a WebAssembly toolchain.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";

import loadWabt from "wabt";

const root = new URL("../", import.meta.url);
const folders = ["src/linalg/wasm/", "src/engine/tfjs/wasm/"];

/**
 * The text of the TypeScript file for a WebAssembly text file.
 * @param {string} path from the root, without extension
 * @returns {Promise<string>}
 */
export async function wasmSource(path) {
  const wabt = await loadWabt();
  const name = path.slice(path.lastIndexOf("/") + 1);
  const text = readFileSync(new URL(`${path}.wat`, root), "utf8");
  const { buffer } = wabt.parseWat(`${name}.wat`, text, { simd: true }).toBinary({});
  const lines =
    Buffer.from(buffer)
      .toString("base64")
      .match(/.{1,92}/g) ?? [];
  return [
    `/** ${name}.wat, compiled by scripts/compile-wasm.js; base64. */`,
    `export const ${name.toUpperCase()}_WASM =`,
    `${lines.map((line) => `  "${line}"`).join(" +\n")};`,
    "",
  ].join("\n");
}

/** The WebAssembly text files: paths from the root, without extension. */
export function wasmPaths() {
  return folders.flatMap((folder) =>
    readdirSync(new URL(folder, root))
      .filter((file) => file.endsWith(".wat"))
      .map((file) => folder + file.slice(0, -".wat".length)),
  );
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  for (const path of wasmPaths()) {
    writeFileSync(new URL(`${path}-wasm.ts`, root), await wasmSource(path));
  }
}
