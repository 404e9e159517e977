/**
 * The threads that fold a model beside this one. Nothing of the library is imported here: they are started
 * before it is loaded, and load it at the same time.
 */
import { existsSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

import type { WorkerFile } from "./worker.js";

/** Below this size of the weights file, starting threads takes longer than the work. */
const SMALL_BYTES = 40e6;
const MAX_WORKERS = 8;

export interface Pool {
  readonly workers: readonly Worker[];
  close(): Promise<void>;
}

/** `threads`: 0 or 1 for none; default: the cores there are. */
export function startPool(
  { path, root }: WorkerFile,
  threads: number = availableParallelism(),
): Pool {
  const script = fileURLToPath(new URL("worker.js", import.meta.url));
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const isWorthIt = threads > 1 && size >= SMALL_BYTES && existsSync(script);
  // This thread folds too.
  const count = isWorthIt ? Math.min(threads - 1, MAX_WORKERS) : 0;
  const workers = Array.from(
    { length: count },
    () => new Worker(script, { workerData: { path, root } }),
  );
  return {
    workers,
    async close() {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
