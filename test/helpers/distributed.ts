// Distributed trainings as users start them, and the processes of which they consist.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { startRepkit, type RunningCommand } from "./training.js";

/** The process of a rank below a launcher, while it lives. Linux alone. */
export function processOf(launcher: number, rank: number): number | undefined {
  return childrenOf(launcher).find((pid) => {
    const place = environmentOf(pid).find((entry) => entry.startsWith("REPKIT_PLACE="));
    return place !== undefined && place.includes(`"rank":${rank},`);
  });
}

export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return text.split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    return [];
  }
}

/** Once stderr has had this text, acts on the process of a rank. */
export async function signalRank(
  run: RunningCommand,
  rank: number,
  signal: NodeJS.Signals,
  moment: { readonly after: string; readonly ms?: number },
): Promise<number> {
  await new Promise<void>((resolve) => {
    run.when(moment.after, resolve);
    void run.ending.then(() => resolve());
  });
  await sleep(moment.ms ?? 0);
  const pid = processOf(run.pid, rank);
  if (pid === undefined) return 0;
  process.kill(pid, signal);
  return pid;
}

/** One process of several that something else starts, as torchrun does. */
export function startRank(
  args: readonly string[],
  port: number,
  { rank, worldSize }: { readonly rank: number; readonly worldSize: number },
): RunningCommand {
  return startRepkit([...args, "--dist-url", "env://"], undefined, {
    ...{ MASTER_ADDR: "127.0.0.1", MASTER_PORT: String(port) },
    ...{ WORLD_SIZE: String(worldSize), RANK: String(rank) },
    ...{ LOCAL_RANK: String(rank), LOCAL_WORLD_SIZE: String(worldSize) },
  });
}
