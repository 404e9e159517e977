// `repkit train` as a user starts it, on the smallest model and a few drawn images.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { writeSampleData } from "../../src/data/sample-data.js";
import type { Ending } from "./kill.js";

const LAUNCHER = fileURLToPath(new URL("../../bin/repkit.js", import.meta.url));

/** 4 classes; 16 images make 4 steps of 4. */
export async function drawImages(folder: string): Promise<void> {
  await writeSampleData(folder, { classes: 4, train: 4, val: 2 });
}

/** Two epochs; later flags win over these. */
export function trainArguments(data: string, out: string, ...more: string[]): string[] {
  const model = ["-a", "MobileNet", "-t", "base", "--img-size", "32", "-b", "4"];
  const speed = ["--threads", "1", "-j", "0", "--epochs", "2", "-p", "1"];
  return ["train", data, ...model, ...speed, "--lr", "0.02", "--out", out, ...more];
}

export interface RunningCommand {
  readonly pid: number;
  /** Does something once stderr has had this; at once where it has had it already. */
  when(text: string, act: () => void): void;
  kill(signal: NodeJS.Signals): void;
  readonly ending: Promise<Ending>;
}

/** Starts a command; `limit` (KiB) is the largest file that it may write. */
export function startRepkit(
  args: readonly string[],
  limit?: number,
  environment: Readonly<Record<string, string>> = {},
  /** What runs the command, where something does. */
  prefix: readonly string[] = [],
): RunningCommand {
  const { NODE_OPTIONS: _options, ...rest } = process.env;
  const env = { ...rest, ...environment };
  const started = performance.now();
  const command = [...prefix, process.execPath, LAUNCHER, ...args];
  const child =
    limit === undefined
      ? spawn(command[0]!, command.slice(1), { env })
      : // In sh the unit is 512 bytes.
        spawn("sh", ["-c", `ulimit -f ${2 * limit}; exec "$@"`, "sh", ...command], { env });
  let [stdout, stderr] = ["", ""];
  const waiting: { text: string; act: () => void }[] = [];
  const look = () => {
    for (const each of waiting.filter(({ text }) => stderr.includes(text))) {
      waiting.splice(waiting.indexOf(each), 1);
      each.act();
    }
  };
  child.stdout.on("data", (piece: Buffer) => (stdout += piece.toString()));
  child.stderr.on("data", (piece: Buffer) => {
    stderr += piece.toString();
    look();
  });
  return {
    pid: child.pid ?? 0,
    when(text, act) {
      waiting.push({ text, act });
      look();
    },
    kill: (signal) => void child.kill(signal),
    ending: new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        resolve({ code, signal, stdout, stderr, duration: performance.now() - started });
      });
    }),
  };
}

/** config.json of a run. */
export function configIn(directory: string): Record<string, unknown> {
  const text = readFileSync(join(directory, "config.json"), "utf8");
  return JSON.parse(text) as Record<string, unknown>;
}
