/** The C++ compiler: the one that $CXX names, else the first of the usual ones. */
import { spawnSync } from "node:child_process";

import { RepkitError } from "../errors.js";
import type { Problem } from "./addon.js";
import { installCompiler } from "./mending.js";

export interface Compiler {
  readonly command: string;
  /** What follows the command in $CXX, as in `ccache g++`. */
  readonly args: readonly string[];
  /** The first line of `--version`. */
  readonly version: string;
}

const USUAL = ["c++", "g++", "clang++"];

export function findCompiler(env: NodeJS.ProcessEnv = process.env): Compiler {
  const named = (env["CXX"] ?? "").trim();
  const lines = named === "" ? USUAL : [named];
  for (const line of lines) {
    const [command = "", ...args] = line.split(/\s+/);
    const { status, stdout } = spawnSync(command, [...args, "--version"], {
      env,
      encoding: "utf8",
    });
    const version = status === 0 ? stdout.split("\n")[0]!.trim() : "";
    if (version !== "") return { command, args, version };
  }
  throw new RepkitError(
    "environment",
    named === ""
      ? `no C++ compiler found (${USUAL.join(", ")}); run: ${installCompiler()}`
      : `CXX: ${named} does not run; correct it, unset it, or run: ${installCompiler()}`,
    { details: { reason: "no-compiler" } },
  );
}

/** The compiler, or what is wrong and the command that mends it. */
export function diagnoseCompiler(env: NodeJS.ProcessEnv): Omit<Compiler, "args"> | Problem {
  try {
    const { command, version } = findCompiler(env);
    return { command, version };
  } catch (error) {
    if (!(error instanceof RepkitError)) throw error;
    const [problem = "", fix] = error.message.split(/[;,] (?:or )?run: /);
    return { problem, ...(fix === undefined ? {} : { fix }) };
  }
}
