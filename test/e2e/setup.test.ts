// What scripts/setup would do on machines of different kinds, told by a dry run.

import { spawnSync } from "node:child_process";
import { rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "@jest/globals";

import {
  fakeLibrary,
  fakePython,
  temporaryFolder,
  writeProgram,
  writeTree,
} from "../helpers/torch-trees.js";

const SETUP = fileURLToPath(new URL("../../scripts/setup", import.meta.url));
const folder = temporaryFolder();
let count = 0;

/** A PATH with the given programs beside those that the script itself takes for granted. */
function machine(programs: Readonly<Record<string, string>>): string {
  const bin = writeTree(join(folder, String(count++)), { ".keep": "" });
  symlinkSync(process.execPath, join(bin, "node"));
  writeProgram(bin, "npm", "");
  for (const name of ["bash", "dirname", "sed", "env"]) {
    const { stdout } = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" });
    symlinkSync(stdout.trim(), join(bin, name));
  }
  for (const [name, text] of Object.entries(programs)) {
    writeProgram(bin, name, `#!/bin/sh\n${text}\n`);
  }
  return bin;
}

function setUp(bin: string, env: NodeJS.ProcessEnv = {}, ...args: string[]) {
  const { status, stderr } = spawnSync(SETUP, ["--dry-run", ...args], {
    encoding: "utf8",
    env: { PATH: bin, ...env },
  });
  return { status, lines: stderr.trimEnd().split("\n") };
}

const ALWAYS = [
  "setup: would run: npm ci",
  "setup: would run: node bin/repkit.js build torch",
  "setup: would run: node bin/repkit.js build linalg",
  "setup: would run: node bin/repkit.js build jpeg",
] as const;
const APT = { "apt-get": "exit 9", "apt-cache": "exit 0", "dpkg-query": "exit 1" };
const PACKAGES = "libtorch-dev libopenblas0-pthread libgloo-dev libjpeg-dev";
/** Answers as where that package is there. */
const INSTALLED = 'case "$*" in *libjpeg-dev) printf installed ;; *) exit 1 ;; esac';

describe("scripts/setup", () => {
  it("on a bare Debian, as root: installs all", () => {
    expect(setUp(machine({ ...APT, id: "echo 0" }))).toEqual({
      status: 0,
      lines: [
        "setup: would run: apt-get update -q",
        `setup: would run: env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends g++ ${PACKAGES}`,
        ...ALWAYS,
      ],
    });
  });

  it("as a user: with sudo", () => {
    const { lines } = setUp(machine({ ...APT, id: "echo 1000", sudo: "exit 9", "c++": "" }));
    expect(lines[0]).toBe("setup: would run: sudo apt-get update -q");
    expect(lines[1]).toContain(`would run: sudo env`);
    expect(lines[1]?.endsWith(`--no-install-recommends ${PACKAGES}`)).toBe(true);
  });

  it("as a user without sudo: says so and goes on", () => {
    const { status, lines } = setUp(machine({ ...APT, id: "echo 1000", "c++": "" }));
    expect(status).toBe(0);
    expect(lines).toEqual([
      `setup: not root and no sudo: cannot install ${PACKAGES}`,
      `setup: could not install ${PACKAGES}; going on without`,
      // Nobody needs root for a torch of their own, but this machine has no Python either.
      "setup: for the torch engine install Python 3 with venv and run scripts/setup again",
      ...ALWAYS,
    ]);
  });

  it("where everything is there: installs nothing", () => {
    const bin = machine({ ...APT, "dpkg-query": "printf installed", "c++": "" });
    expect(setUp(bin).lines).toEqual(["setup: compiler and libraries are there", ...ALWAYS]);
  });

  it("where Python has a torch: installs no other", () => {
    const bin = machine({ ...APT, "dpkg-query": INSTALLED, "c++": "" });
    const torch = fakeLibrary(join(folder, String(count++)));
    writeProgram(bin, "python3", `#!/bin/sh\necho ${torch}\n`);
    expect(setUp(bin).lines.slice(0, 2)).toEqual([
      `setup: libtorch of ${torch}: no other is installed`,
      "setup: compiler and libraries are there",
    ]);
  });

  it("where a libtorch is named: installs no other, but libjpeg-turbo", () => {
    const bin = machine({ ...APT, "c++": "", id: "echo 0" });
    const { lines } = setUp(bin, { REPKIT_LIBTORCH: "/opt/libtorch" });
    expect(lines[0]).toBe(
      "setup: REPKIT_LIBTORCH is /opt/libtorch: no other libtorch is installed",
    );
    expect(lines[2]).toMatch(/ apt-get install -yq --no-install-recommends libjpeg-dev$/);
  });

  it("without apt-get: brings libtorch with pip, in a folder of its own", () => {
    const bin = machine({ "c++": "" });
    fakePython(bin, "python3", null);
    const { status, lines } = setUp(bin);
    expect(status).toBe(0);
    expect(lines[0]).toContain("libjpeg-turbo");
    expect(lines[1]).toContain("into .venv here (on Linux with CUDA, several GB");
    expect(lines.slice(2)).toEqual([
      "setup: would run: python3 -m venv .venv",
      "setup: would run: .venv/bin/python -m pip install torch",
      ...ALWAYS,
    ]);
  });

  it("without apt-get and compiler: says what to do and goes on", () => {
    const { status, lines } = setUp(machine({}));
    expect(status).toBe(0);
    expect(lines[1]).toBe(
      "setup: for the torch engine install a C++ compiler (macOS: xcode-select --install) and run scripts/setup again",
    );
    expect(lines.slice(2)).toEqual(ALWAYS);
  });

  it("without libtorch on purpose: asks for none", () => {
    const { lines } = setUp(machine({ "c++": "" }), { REPKIT_LIBTORCH: "none" });
    expect(lines[0]).toBe("setup: REPKIT_LIBTORCH is none: no other libtorch is installed");
    expect(lines.slice(2)).toEqual(ALWAYS);
  });

  it.each([
    ["16.20.2", "echo 16.20.2"],
    ["20.18.3", "echo 20.18.3"],
    ["none", "exit 127"],
  ])("with a Node that is too old, or none: one line, before anything else (%s)", (found, text) => {
    const bin = machine({ ...APT, id: "echo 0" });
    rmSync(join(bin, "node"));
    writeProgram(bin, "node", `#!/bin/sh\n${text}\n`);
    expect(setUp(bin)).toEqual({
      status: 7,
      lines: [`setup: repkit needs Node 20.19 or newer on PATH; found: ${found}`],
    });
  });

  it("knows no other flag", () => {
    const { status, stderr } = spawnSync(SETUP, ["--dry"], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: 'usage: scripts/setup [--dry-run], received "--dry"\n',
    });
  });
});
