// The committed WebAssembly is what its source compiles to.

import { readFileSync } from "node:fs";

import { describe, expect, it } from "@jest/globals";

import { wasmPaths, wasmSource } from "../../scripts/compile-wasm.js";

/** What stands between quotes, put together. */
const base64In = (source: string) =>
  [...source.matchAll(/"([A-Za-z0-9+/=]+)"/g)].map((match) => match[1]).join("");

describe("WebAssembly", () => {
  it("has sources", () => {
    expect(wasmPaths()).not.toEqual([]);
  });

  it.each(wasmPaths())("%s.wat is compiled", async (path) => {
    const file = new URL(`../../${path}-wasm.ts`, import.meta.url);
    expect(base64In(readFileSync(file, "utf8"))).toBe(base64In(await wasmSource(path)));
  });
});
