/** One build at a time. It saves work and no more: builds that slip through do not disturb each other. */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 200;
/** Between a file's creation and its content. */
const GRACE_MS = 5000;

/** Runs `work` while nobody else holds the file; `onWait` is called once where somebody does. */
export async function withLock<T>(
  file: string,
  onWait: () => void,
  work: () => Promise<T>,
): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  for (let isFirst = true; !acquire(file); isFirst = false) {
    if (isFirst) onWait();
    await sleep(POLL_MS);
  }
  held.add(file);
  const release = () => {
    held.delete(file);
    rmSync(file, { force: true });
  };
  process.once("exit", release);
  try {
    return await work();
  } finally {
    process.off("exit", release);
    release();
  }
}

const held = new Set<string>();

function acquire(file: string): boolean {
  try {
    writeFileSync(file, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    if (isAbandoned(file)) rmSync(file, { force: true });
    return false;
  }
}

/** Whether the process that made the file has ended without removing it. */
function isAbandoned(file: string): boolean {
  try {
    const pid = Number(readFileSync(file, "utf8"));
    // A container's next process may bear the number of the one before.
    if (pid === process.pid) return !held.has(file);
    if (!Number.isInteger(pid) || pid <= 0) return Date.now() - statSync(file).mtimeMs > GRACE_MS;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH" && existsSync(file);
  }
}
