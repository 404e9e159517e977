// The committed WebAssembly is what its source compiles to.

import { readFileSync } from "node:fs";

import { describe, expect, it } from "@jest/globals";

import { wasmNames, wasmSource } from "../../scripts/compile-wasm.js";

/** What stands between quotes, put together. */
const base64In = (source: string) =>
  [...source.matchAll(/"([A-Za-z0-9+/=]+)"/g)].map((match) => match[1]).join("");

describe("src/util/wasm", () => {
  it("has sources", () => {
    expect(wasmNames()).not.toEqual([]);
  });

  it.each(wasmNames())("%s.wat is compiled", async (name) => {
    const file = new URL(`../../src/util/wasm/${name}-wasm.ts`, import.meta.url);
    expect(base64In(readFileSync(file, "utf8"))).toBe(base64In(await wasmSource(name)));
  });
});
