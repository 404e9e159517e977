// The command line as a user starts it: `node bin/repkit.js`, from the build in dist/.

import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const LAUNCHER = fileURLToPath(new URL("../../bin/repkit.js", import.meta.url));

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end. */
export function repkit(...args: string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [LAUNCHER, ...args], {
    encoding: "utf8",
    env: environment(),
    maxBuffer: 2 ** 26,
  });
  return { code: status, stdout, stderr };
}

/** Runs a command whose reader goes away after the first piece of output, as `head -1` does. */
export function repkitUntilFirstOutput(...args: string[]): Promise<Outcome & { signal: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [LAUNCHER, ...args], { env: environment() });
    let stdout = "";
    let stderr = "";
    child.stdout.once("data", (piece: Buffer) => {
      stdout = piece.toString();
      child.stdout.destroy();
    });
    child.stderr.on("data", (piece: Buffer) => (stderr += piece.toString()));
    child.once("error", reject);
    child.once("close", (code, signal) => {
      resolve({ code, stdout, stderr, signal: signal ?? "" });
    });
  });
}

/** The test runner's flags are not the user's. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, ...rest } = process.env;
  return rest;
}
