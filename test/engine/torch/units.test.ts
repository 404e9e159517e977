import { join } from "node:path";

import { describe, expect, test } from "@jest/globals";

import type { LibTorch } from "../../../src/engine/torch/library.js";
import { ADDON_SOURCES } from "../../../src/engine/torch/package.js";
import {
  compileFlags,
  compileUnits,
  linkFlags,
  unitHash,
} from "../../../src/engine/torch/units.js";
import { temporaryFolder, writeTree } from "../../helpers/torch-trees.js";

const folder = temporaryFolder();

describe("the addon's sources", () => {
  test("are compiled once, the kernels once for each instruction set", () => {
    const names = compileUnits(ADDON_SOURCES, "x64").map(({ name }) => name);
    expect(names).toContain("addon");
    expect(names.filter((name) => name.startsWith("kernels/batch_norm_kernels"))).toEqual([
      "kernels/batch_norm_kernels.default",
      "kernels/batch_norm_kernels.avx2",
      "kernels/batch_norm_kernels.avx512",
    ]);
    expect(new Set(names).size).toBe(names.length);
  });

  test("have no flags of x64 elsewhere", () => {
    const units = compileUnits(ADDON_SOURCES, "arm64");
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

describe("flags", () => {
  const library: LibTorch = {
    root: "/usr",
    version: "1.13.0",
    includeDirs: ["/usr/include", "/usr/include/torch/csrc/api/include"],
    libraryDir: "/usr/lib/x86_64-linux-gnu",
    libraries: ["torch", "torch_cpu", "c10", "torch_cuda"],
    cxx11Abi: false,
    cuda: undefined,
    cxxStandard: 20,
  };

  test("follow the library", () => {
    const flags = compileFlags("/src", library);
    expect(flags).toContain("-std=c++20");
    expect(flags).toContain("-D_GLIBCXX_USE_CXX11_ABI=0");
    expect(flags).toContain("/usr/include/torch/csrc/api/include");
    expect(compileFlags("/src", { ...library, cxx11Abi: undefined }).join(" ")).not.toMatch(/ABI/);
  });

  test("do not put /usr/include before the compiler's own headers", () => {
    expect(compileFlags("/src", library)).not.toContain("/usr/include");
  });

  test("link what nothing refers to, and find it again when loading", () => {
    if (process.platform !== "linux") return;
    const flags = linkFlags(library).join(" ");
    expect(flags).toContain("-Wl,--no-as-needed -ltorch -ltorch_cpu -lc10 -ltorch_cuda");
    expect(flags).toContain("-Wl,-rpath,/usr/lib/x86_64-linux-gnu");
  });
});
