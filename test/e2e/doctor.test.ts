import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, describe, expect, it, jest } from "@jest/globals";

import type { Outcome } from "../helpers/cli.js";

jest.setTimeout(120_000); // loading a large library from a cold disk

const LAUNCHER = fileURLToPath(new URL("../../bin/repkit.js", import.meta.url));
const cache = mkdtempSync(join(tmpdir(), "repkit-doctor-"));
afterAll(() => rmSync(cache, { recursive: true, force: true }));

interface Report {
  node: string;
  engines: { name: string; ok: boolean; version?: string; problems: { problem: string }[] }[];
  libraries: { source: string; status: string; problem?: string }[];
  loaders: { name: string; ok: boolean; problems: { problem: string; fix?: string }[] }[];
  compiler: { problem?: string; fix?: string };
}

function repkit(more: NodeJS.ProcessEnv, ...args: string[]): Outcome {
  const { NODE_OPTIONS: _options, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, [LAUNCHER, ...args], {
    encoding: "utf8",
    env: { ...env, ...more },
  });
  return { code: status, stdout, stderr };
}

const WITHOUT = { REPKIT_LIBTORCH: "none", REPKIT_CACHE: cache };

describe("repkit doctor", () => {
  it("without a libtorch: says so, how to mend it, and that TensorFlow.js runs all the same", () => {
    const { code, stdout } = repkit(WITHOUT, "doctor");
    expect(code).toBe(0);
    expect(stdout).toContain(`node      ${process.versions.node}\n`);
    expect(stdout).toMatch(/^images {4}sharp \d+\.\d+\.\d+, libvips \d+\.\d+/m);
    expect(stdout).toMatch(new RegExp(`^cache {5}${cache}, [\\d.]+ .?B free$`, "m"));
    expect(stdout).toMatch(/^torch +not there$/m);
    expect(stdout).toMatch(/^REPKIT_LIBTORCH +refused/m);
    expect(stdout).toMatch(/^torch: REPKIT_LIBTORCH is "none"; run: unset REPKIT_LIBTORCH$/m);
    expect(stdout).toMatch(/^tfjs:wasm +ok +\d+\.\d+\.\d+ +cpu$/m);
    expect(stdout).toMatch(/^tfjs:cpu +ok +\d+\.\d+\.\d+ +cpu$/m);
  });

  it("--json is one document all the same", () => {
    const { code, stdout } = repkit(WITHOUT, "doctor", "--json");
    const report = JSON.parse(stdout) as Report;
    expect(code).toBe(0);
    expect(report.node).toBe(process.versions.node);
    expect(report.engines).toMatchObject([
      { name: "torch", ok: false },
      { name: "tfjs:node-gpu", ok: false, problems: [{ fix: expect.any(String) }] },
      { name: "tfjs:node", ok: false, problems: [{ fix: expect.any(String) }] },
      { name: "tfjs:wasm", ok: true, devices: ["cpu"] },
      { name: "tfjs:cpu", ok: true, devices: ["cpu"] },
    ]);
    expect(report.libraries).toMatchObject([{ source: "REPKIT_LIBTORCH", status: "refused" }]);
  });

  it("names what is missing in a REPKIT_LIBTORCH that is wrong", () => {
    const wrong = { ...WITHOUT, REPKIT_LIBTORCH: cache };
    const { stdout } = repkit(wrong, "doctor", "--json");
    const [engine] = (JSON.parse(stdout) as Report).engines;
    expect(engine?.problems[0]?.problem).toContain(`${cache} has no lib/libtorch_cpu.so`);
  });

  it("names the command that installs a compiler", () => {
    const { stdout } = repkit({ ...WITHOUT, CXX: "", PATH: cache }, "doctor", "--json");
    const { compiler } = JSON.parse(stdout) as Report;
    expect(compiler.problem).toBe("no C++ compiler found (c++, g++, clang++)");
    expect(compiler.fix).toMatch(/g\+\+|xcode/);
  });

  it("names a cache folder in which nothing can be kept", () => {
    writeFileSync(join(cache, "file"), "");
    const blocked = { ...WITHOUT, REPKIT_CACHE: join(cache, "file", "deeper") };
    const { stdout } = repkit(blocked, "doctor");
    expect(stdout).toContain(
      `cache: ${join(cache, "file")} is not a folder; run: export REPKIT_CACHE=FOLDER\n`,
    );
  });

  it("names the native sums where they are not built", () => {
    const { stdout } = repkit(WITHOUT, "doctor");
    expect(stdout).toMatch(/^linalg +not there$/m);
    expect(stdout).toMatch(
      /^linalg: the linalg addon is not built.*; run: .*repkit build linalg$/m,
    );
  });

  it("names what the fast way to read images lacks", () => {
    const { stdout } = repkit(WITHOUT, "doctor");
    expect(stdout).toMatch(/^jpeg +not there$/m);
    expect(stdout).toMatch(/^jpeg: the jpeg addon is not built.*; run: .*repkit build jpeg$/m);
    const nowhere = { ...WITHOUT, REPKIT_LIBJPEG: "/nowhere" };
    const { loaders } = JSON.parse(repkit(nowhere, "doctor", "--json").stdout) as Report;
    expect(loaders).toMatchObject([{ name: "jpeg", ok: false }]);
    expect(loaders[0]?.problems[0]?.problem).toContain("/nowhere has no lib/libjpeg");
  });

  it("here: exits with 0 where an engine can run", () => {
    const { code, stdout } = repkit({}, "doctor", "--json");
    const [engine] = (JSON.parse(stdout) as Report).engines;
    expect(code).toBe(engine?.ok === true ? 0 : 7);
    if (engine?.ok === true) expect(engine.version).toMatch(/^\d+\.\d+/);
    else expect(engine?.problems).not.toEqual([]);
  });
});

describe("repkit build", () => {
  it("without a libtorch exits with 7 and prints nothing on stdout", () => {
    const { code, stdout, stderr } = repkit(WITHOUT, "build", "torch", "--json");
    expect({ code, stdout }).toEqual({ code: 7, stdout: "" });
    expect(stderr).toContain("error: REPKIT_LIBTORCH: ");
  });

  it("without a compiler exits with 7", () => {
    const { code, stderr } = repkit({ CXX: "/no/such/c++" }, "build", "torch", "--quiet");
    expect(code).toBe(7);
    expect(stderr).toMatch(/^error: (CXX: \/no\/such\/c\+\+ does not run|no libtorch found)/);
  });

  it("of the jpeg addon without its library exits with 7", () => {
    const { code, stdout, stderr } = repkit({ REPKIT_LIBJPEG: "/nowhere" }, "build", "jpeg");
    expect({ code, stdout }).toEqual({ code: 7, stdout: "" });
    expect(stderr).toMatch(/^error: no libjpeg-turbo found \(\/nowhere has no .*\); run: \S/m);
  });

  it("of the jpeg addon takes no libtorch", () => {
    const { code, stderr } = repkit({}, "build", "jpeg", "--libtorch", cache);
    expect(code).toBe(2);
    expect(stderr).toContain("--libtorch: the jpeg addon is not linked to it");
  });

  it("of an engine that nobody knows is a usage error", () => {
    const { code, stderr } = repkit({}, "build", "torhc");
    expect(code).toBe(2);
    expect(stderr).toContain('did you mean "torch"?');
  });
});
