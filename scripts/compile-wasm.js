// Compiles src/util/wasm/*.wat and writes each as base64 into a TypeScript file beside it, which is
// committed: no build of repkit needs a WebAssembly toolchain.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";

import loadWabt from "wabt";

const folder = new URL("../src/util/wasm/", import.meta.url);

/**
 * The text of the TypeScript file for a WebAssembly text file.
 * @param {string} name without extension
 * @returns {Promise<string>}
 */
export async function wasmSource(name) {
  const wabt = await loadWabt();
  const text = readFileSync(new URL(`${name}.wat`, folder), "utf8");
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

/** Names of the WebAssembly text files. */
export function wasmNames() {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".wat"))
    .map((file) => file.slice(0, -".wat".length));
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  for (const name of wasmNames()) {
    writeFileSync(new URL(`${name}-wasm.ts`, folder), await wasmSource(name));
  }
}
