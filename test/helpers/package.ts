// The package as a user has it: in node_modules of a folder of their own, the command on PATH.

import { spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll } from "@jest/globals";

import type { Outcome } from "./cli.js";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface UserFolder {
  path: string;
  /** Runs a program there. */
  run: (program: string, ...args: string[]) => Outcome;
  /** Writes a script and runs it with Node. */
  node: (name: string, source: string) => Outcome;
}

/** A folder in which the build in dist/ is installed; it goes away with the tests of the file. */
export function userFolder(): UserFolder {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "repkit-user-")));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  const bin = join(path, "node_modules", ".bin");
  mkdirSync(bin, { recursive: true });
  symlinkSync(ROOT, join(path, "node_modules", "repkit"), "dir");
  const launcher = join(ROOT, "bin", "repkit.js");
  writeFileSync(join(bin, "repkit"), `#!/bin/sh\nexec "${process.execPath}" "${launcher}" "$@"\n`);
  chmodSync(join(bin, "repkit"), 0o755);
  const { NODE_OPTIONS: _options, ...env } = process.env;
  const run = (program: string, ...args: string[]): Outcome => {
    const { status, stdout, stderr } = spawnSync(program, args, {
      cwd: path,
      encoding: "utf8",
      env: { ...env, PATH: `${bin}${delimiter}${env["PATH"] ?? ""}` },
      maxBuffer: 2 ** 26,
    });
    return { code: status, stdout, stderr };
  };
  return {
    path,
    run,
    node(name, source) {
      writeFileSync(join(path, name), source);
      return run(process.execPath, name);
    },
  };
}
