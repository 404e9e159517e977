// PyTorch, where it is installed: what it makes of our files.

import { spawnSync } from "node:child_process";

export const python = process.env["REPKIT_TEST_PYTHON"] ?? "/usr/bin/python3";
const probe = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], {
  encoding: "utf8",
});

/** The version of PyTorch, or why there is none. */
export const torch =
  probe.status === 0
    ? { isThere: true, what: `torch ${probe.stdout.trim()}` }
    : { isThere: false, what: `skipped: ${python} has no torch` };

/** Runs a script that prints one JSON document; `args` are its arguments. */
export function runTorch(script: string, ...args: string[]): unknown {
  const { status, stdout, stderr } = spawnSync(python, ["-c", script, ...args], {
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}
