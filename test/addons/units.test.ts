import { join } from "node:path";

import { describe, expect, test } from "@jest/globals";

import { addonSources } from "../../src/addons/package.js";
import { compileUnits, unitHash } from "../../src/addons/units.js";
import { temporaryFolder, writeTree } from "../helpers/torch-trees.js";

const TORCH = addonSources("torch");
const folder = temporaryFolder();

describe("the addon's sources", () => {
  test("are compiled once, the kernels once for each instruction set", () => {
    const names = compileUnits(TORCH, "x64").map(({ name }) => name);
    expect(names).toContain("addon");
    expect(names.filter((name) => name.startsWith("kernels/batch_norm_kernels"))).toEqual([
      "kernels/batch_norm_kernels.default",
      "kernels/batch_norm_kernels.avx2",
      "kernels/batch_norm_kernels.avx512",
    ]);
    expect(new Set(names).size).toBe(names.length);
  });

  test("have no flags of x64 elsewhere", () => {
    const units = compileUnits(TORCH, "arm64");
    expect(units.flatMap(({ flags }) => flags).filter((flag) => flag.startsWith("-m"))).toEqual([]);
    expect(units.map(({ name }) => name)).toContain("kernels/batch_norm_kernels.default");
  });

  test("that sources.json names have to be there", () => {
    const manifest = JSON.stringify({ flags: { "gone.cc": ["-O3"] } });
    const sources = writeTree(join(folder, "a"), { "a.cc": "", "sources.json": manifest });
    expect(() => compileUnits(sources)).toThrow("sources.json: no such file: gone.cc");
  });

  test("take no flags from a part of sources.json that nobody knows", () => {
    const sources = writeTree(join(folder, "b"), { "sources.json": '{ "variants": {} }' });
    expect(() => compileUnits(sources)).toThrow("sources.json: unknown key: variants");
  });
});

describe("a unit's hash", () => {
  const files = {
    "a.cc": '#include <vector>\n#include "a.h"\n#include "library/other.h"\n',
    "a.h": '#pragma once\n#include "deep/b.h"\n',
    "deep/b.h": '#include "../a.h"\n',
    "c.h": "",
  };
  const hashWith = (name: string, changed: Readonly<Record<string, string>> = {}) =>
    unitHash(writeTree(join(folder, name), { ...files, ...changed }), "a.cc");

  test("changes with headers it includes through others, and with no other", () => {
    const hash = hashWith("c");
    expect(hashWith("d")).toBe(hash);
    expect(hashWith("e", { "c.h": "int c;\n" })).toBe(hash);
    expect(hashWith("f", { "deep/b.h": "int b;\n" })).not.toBe(hash);
    expect(hashWith("g", { "a.cc": '#include "a.h"\n' })).not.toBe(hash);
  });
});
