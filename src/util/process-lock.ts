/**
 * A folder that one process at a time uses, without a race and without help from the dead.
 *
 * Every process announces itself with a file of its own (`.lock-<pid>-<random>`) and then looks who
 * else has: of two that come at once, at least one sees the other. It withdraws and tries again a
 * moment later. The file of a process that has ended is nobody else's, so anyone may remove it at any
 * time; a single lock file would have to be taken from its dead owner, and two could do so in turn.
 *
 * NOTE: a process of another host cannot be asked whether it lives; its file counts until it is removed.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** The process behind a lock. */
export interface LockOwner {
  readonly pid: number;
  readonly host: string;
  /** Distinguishes a process from a later one of the same number; null where the system does not say. */
  readonly started: string | null;
  /** When the lock was taken: ISO 8601, UTC. */
  readonly since: string;
}

export type LockAttempt =
  | {
      readonly kind: "locked";
      /** Whether a process that was killed had left its lock. */
      readonly abandoned: boolean;
      /** Also called when the process exits. */
      readonly release: () => void;
    }
  | { readonly kind: "in-use"; readonly owner: LockOwner; readonly file: string };

const LOCK_FILE = /^\.lock-\d+-[0-9a-f]{16}$/;
const ATTEMPTS = 8;
/** Those that came at once come again at different moments, further apart each time. */
const BACKOFF_MS = 50;

/**
 * Locks an existing folder for this process.
 * @throws the system's error where the folder cannot be written
 */
export async function lockFolder(folder: string): Promise<LockAttempt> {
  for (let attempt = 1; ; attempt++) {
    const outcome = tryLock(folder);
    // Whoever has been there for a while stays; who has just come may be about to withdraw.
    if (outcome.kind === "locked" || attempt === ATTEMPTS || !isRecent(outcome.owner)) {
      return outcome;
    }
    await sleep(1 + Math.random() * BACKOFF_MS * attempt);
  }
}

/** Whether the process lives, as far as this host can tell. */
export function isAlive({ pid, host, started }: LockOwner): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: somebody else's process, but a process.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  const now = startOf(pid);
  return now !== undefined && (now === null || started === null || now === started);
}

function tryLock(folder: string): LockAttempt {
  const name = `.lock-${process.pid}-${randomBytes(8).toString("hex")}`;
  const file = join(folder, name);
  announce(file);
  const release = () => {
    process.off("exit", release);
    try {
      rmSync(file, { force: true });
    } catch {
      // A folder that became write-protected; once this process has ended, the lock counts for nothing.
    }
  };
  process.on("exit", release);
  let abandoned = false;
  try {
    for (const other of readdirSync(folder)) {
      if (!LOCK_FILE.test(other) || other === name) continue;
      const owner = readOwner(join(folder, other));
      if (owner === undefined) continue;
      if (isAlive(owner)) {
        release();
        return { kind: "in-use", owner, file: join(folder, other) };
      }
      rmSync(join(folder, other), { force: true });
      abandoned = true;
    }
  } catch (error) {
    release();
    throw error;
  }
  return { kind: "locked", abandoned, release };
}

/** By rename: nobody sees the file without its content. */
function announce(file: string): void {
  const owner: LockOwner = {
    pid: process.pid,
    host: hostname(),
    started: startOf(process.pid) ?? null,
    since: new Date().toISOString(),
  };
  const temporary = `${file}.tmp`;
  try {
    writeFileSync(temporary, `${JSON.stringify(owner)}\n`, { flag: "wx" });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Undefined where the file is gone, or no lock at all. */
function readOwner(file: string): LockOwner | undefined {
  let owner: Partial<LockOwner> | null;
  try {
    owner = JSON.parse(readFileSync(file, "utf8")) as Partial<LockOwner> | null;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") {
      return undefined;
    }
    throw error;
  }
  if (!Number.isSafeInteger(owner?.pid) || typeof owner?.host !== "string") return undefined;
  return {
    pid: owner.pid as number,
    host: owner.host,
    started: typeof owner.started === "string" ? owner.started : null,
    since: typeof owner.since === "string" ? owner.since : "",
  };
}

function isRecent({ since }: LockOwner): boolean {
  return Math.abs(Date.now() - Date.parse(since)) < 1000;
}

/**
 * When a process started, in clock ticks since the system did: field 22 of /proc/PID/stat (proc(5)).
 * Null where there is no /proc; undefined where the process has ended, be it not yet reaped.
 */
function startOf(pid: number): string | null | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return existsSync("/proc/self/stat") ? undefined : null;
  }
  // The second field, the program's name in parentheses, may contain anything.
  const [state, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return state === "Z" || state === "X" ? undefined : (rest[18] ?? null);
}
