import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, jest, test } from "@jest/globals";

import { cpuFeatures } from "../../../src/engine/machine.js";
import { buildAddon } from "../../../src/engine/torch/build.js";
import { blasProblem, diagnoseTorch, gpuProblem } from "../../../src/engine/torch/diagnosis.js";
import { inspectLibrary } from "../../../src/engine/torch/library.js";
import {
  fakeLibrary,
  linkableLibrary,
  temporaryFolder,
  TINY_ADDON,
  withCompiler,
  writeTree,
} from "../../helpers/torch-trees.js";

jest.setTimeout(60_000); // compilers and libraries take their time on a busy machine

const folder = temporaryFolder();
let count = 0;
const newFolder = () => join(folder, String(count++));
const compiler = { command: "c++", version: "c++ 12" };
const machine = { nvidia: false };

/** A machine on which nothing is installed. */
const bare = (more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  ...{ PATH: newFolder(), REPKIT_CACHE: newFolder() },
  ...more,
});

describe("the torch engine that is not built", () => {
  test("where there is a libtorch: build it", async () => {
    const env = bare({ REPKIT_LIBTORCH: fakeLibrary(newFolder()) });
    const { engine, libraries } = await diagnoseTorch({ env, machine, compiler });
    const problem = `the torch addon is not built for REPKIT_LIBTORCH=${env["REPKIT_LIBTORCH"]}`;
    expect(engine).toEqual({
      ...{ name: "torch", ok: false },
      problems: [{ problem, fix: "repkit build torch" }],
    });
    expect(libraries).toMatchObject([{ source: "REPKIT_LIBTORCH", status: "used" }]);
  });

  test("and no compiler: install one, then build it", async () => {
    const env = bare({ REPKIT_LIBTORCH: fakeLibrary(newFolder()) });
    const without = { problem: "no C++ compiler", fix: "apt-get install g++" };
    const { engine } = await diagnoseTorch({ env, machine, compiler: without });
    expect(engine.problems[0]?.problem).toMatch(/not built.*: no C\+\+ compiler$/);
    expect(engine.problems[0]?.fix).toBe("apt-get install g++ && repkit build torch");
  });

  test("where REPKIT_LIBTORCH is wrong: what is wrong with it", async () => {
    const env = bare({ REPKIT_LIBTORCH: "/nowhere" });
    const { engine, libraries } = await diagnoseTorch({ env, machine, compiler });
    expect(engine.problems[0]?.problem).toContain("REPKIT_LIBTORCH: /nowhere does not exist");
    expect(libraries).toMatchObject([{ source: "REPKIT_LIBTORCH", status: "refused" }]);
  });
});

withCompiler("the torch engine that is built", () => {
  async function built() {
    const sources = writeTree(newFolder(), TINY_ADDON);
    const library = linkableLibrary(newFolder());
    const env = bare({ ...process.env, REPKIT_LIBTORCH: library, REPKIT_CACHE: newFolder() });
    const { path } = await buildAddon({ sources, env });
    return { sources, library, env, path, machine, compiler };
  }

  test("tells version, devices and library", async () => {
    const situation = await built();
    expect(await diagnoseTorch(situation)).toEqual({
      engine: {
        ...{ name: "torch", ok: true, version: "2.4.1", devices: ["cpu"] },
        ...{ path: situation.path, problems: [] },
      },
      libraries: [
        {
          ...{ source: "REPKIT_LIBTORCH", status: "used" },
          ...{ root: situation.library, version: "2.4.1" },
        },
      ],
    });
  });

  test("keeps to its library where none is named any more", async () => {
    const situation = await built();
    const { REPKIT_LIBTORCH: _named, ...env } = situation.env;
    const { engine, libraries } = await diagnoseTorch({ ...situation, env });
    expect(engine.ok).toBe(true);
    expect(libraries[0]).toMatchObject({ source: "last build", status: "used" });
    expect(libraries.filter(({ status }) => status === "used")).toHaveLength(1);
  });

  test("but stale: what has changed", async () => {
    const situation = await built();
    writeFileSync(join(situation.sources, "number.h"), "double number(); // longer\n");
    const { engine } = await diagnoseTorch(situation);
    expect(engine.problems).toEqual([
      { problem: "the torch addon was built from other sources", fix: "repkit build torch" },
    ]);
  });

  test("but does not load: why", async () => {
    const situation = await built();
    writeFileSync(situation.path, "garbage");
    const { engine } = await diagnoseTorch(situation);
    expect(engine).toMatchObject({ ok: false, problems: [{ fix: "repkit build torch --force" }] });
    expect(engine.problems[0]?.problem).toMatch(/^the torch addon does not load: .*(short|header)/);
  });
});

describe("a library that works worse than it could", () => {
  const withBlas = (name: string) => {
    const root = fakeLibrary(newFolder(), { [`blas/${name}/libblas.so.3`]: "" });
    symlinkSync(join(root, "blas", name, "libblas.so.3"), join(root, "lib", "libblas.so.3"));
    return blasProblem([{ source: "Debian", ...inspectLibrary(root) }], root);
  };

  test("multiplies with the reference BLAS", () => {
    expect(withBlas("reference")).toMatchObject([
      { problem: expect.stringContaining("reference BLAS, ten times slower") as unknown },
    ]);
    expect(withBlas("openblas-pthread")).toEqual([]);
  });

  test("leaves the GPU unused", () => {
    const gpu = { nvidia: true };
    expect(gpuProblem(machine, null, 0)).toEqual([]);
    expect(gpuProblem(gpu, "13.2", 1)).toEqual([]);
    expect(gpuProblem(gpu, "13.2", 0)[0]?.problem).toContain("CUDA 13.2 but finds no device");
    expect(gpuProblem(gpu, null, 0)[0]?.fix).toContain("pip install torch");
  });
});

test("instruction sets are read off Linux's account of the CPU", () => {
  expect(cpuFeatures("flags\t\t: fpu sse2 avx2 avx512_bf16 avx512f fma\n")).toEqual([
    ...["avx2", "fma", "avx512f", "avx512_bf16"],
  ]);
  expect(cpuFeatures("Features\t: fp asimd bf16\n")).toEqual(["asimd", "bf16"]);
  expect(cpuFeatures("")).toEqual([]);
});
