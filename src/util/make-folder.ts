/** Making folders so that a failure has its real cause. */
import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Creates a folder and those above it; returns whether it was not there. mkdirSync's own `recursive` never
 * returns where it may not (Node 20, below /proc), and calls a read-only file system ENOENT.
 * @throws the system's error, of the folder that could not be made
 */
export function makeFolder(path: string): boolean {
  if (existsSync(path)) return false;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent);
  try {
    mkdirSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error; // another process was quicker
    return false;
  }
}
