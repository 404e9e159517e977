// Processes that are stopped in the middle of their work.

import { spawn } from "node:child_process";
import { statSync, watch } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const LAUNCHER = fileURLToPath(new URL("../../bin/repkit.js", import.meta.url));

export interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** Milliseconds from the start. */
  duration: number;
}

/** When to send the signal: so many milliseconds after the start, or once such a file has so many bytes. */
export type Moment = { after: number } | { file: RegExp; in: string; bytes?: number } | "never";

/** Runs a command and sends it a signal; it may have ended before that. */
export function repkitUntil(
  moment: Moment,
  signal: NodeJS.Signals,
  ...args: string[]
): Promise<Ending> {
  return new Promise((resolve, reject) => {
    const { NODE_OPTIONS: _options, ...env } = process.env;
    const started = performance.now();
    const child = spawn(process.execPath, [LAUNCHER, ...args], { env });
    const send = () => void child.kill(signal);
    const timer = typeof moment === "object" && "after" in moment && setTimeout(send, moment.after);
    const watcher =
      typeof moment === "object" &&
      "file" in moment &&
      watch(moment.in, (_event, name) => {
        if (name === null || !moment.file.test(name)) return;
        const file = statSync(join(moment.in, name), { throwIfNoEntry: false });
        if (file !== undefined && file.size >= (moment.bytes ?? 0)) send();
      });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (piece: Buffer) => (stdout += piece.toString()));
    child.stderr.on("data", (piece: Buffer) => (stderr += piece.toString()));
    child.once("error", reject);
    child.once("close", (code, by) => {
      if (timer !== false) clearTimeout(timer);
      if (watcher !== false) watcher.close();
      resolve({ code, signal: by, stdout, stderr, duration: performance.now() - started });
    });
  });
}
