/** Folds the groups of a model on several threads, or on this one where that is quicker. */
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

import { RepkitError } from "../errors.js";
import { elementCount, type StateSource } from "../graph/index.js";
import { GroupFolder, type GroupResult, type GroupsToFold } from "./groups.js";
import type { WorkerFailure, WorkerJob } from "./worker.js";

/** Below this many folded weights, starting threads takes longer than the work. */
const SMALL = 4_000_000;
const MAX_WORKERS = 8;

export interface PoolOptions {
  readonly job: GroupsToFold;
  readonly state: StateSource;
  readonly file: { readonly path: string; readonly root: string };
  /** Default: the cores there are. 1 or 0: no threads. */
  readonly threads?: number | undefined;
  /** Called with the groups done and all of them. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** The results in the order of the groups. */
export async function foldGroups(options: PoolOptions): Promise<readonly GroupResult[]> {
  const { job, threads = availableParallelism() } = options;
  const { groups, graph } = job.folded;
  const sizes = groups.map(({ convolution }) => {
    const weight = graph.nodes[graph.nodes[convolution]?.inputs[1] ?? -1];
    return elementCount(weight?.type.shape ?? []);
  });
  // The largest first, so that no thread starts a long one last.
  const queue = groups.map((_, index) => index).sort((a, b) => sizes[b]! - sizes[a]!);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const count = Math.min(threads, MAX_WORKERS, groups.length);
  const script = fileURLToPath(new URL("worker.js", import.meta.url));
  const results: GroupResult[] = [];
  const done = (result: GroupResult) => {
    results[result.index] = result;
    options.onProgress?.(results.filter(() => true).length, groups.length);
  };
  if (count < 2 || total < SMALL || !existsSync(script)) {
    await foldHere(options, queue, done);
  } else {
    await foldOnThreads(options, script, count, queue, done);
  }
  return results;
}

async function foldHere(
  { job, state }: PoolOptions,
  queue: readonly number[],
  done: (result: GroupResult) => void,
): Promise<void> {
  const folder = new GroupFolder(job, state);
  for (const index of queue) {
    done(folder.fold(index));
    // Signals and progress get their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function foldOnThreads(
  { job, file }: PoolOptions,
  script: string,
  count: number,
  queue: number[],
  done: (result: GroupResult) => void,
): Promise<void> {
  const workerData: WorkerJob = { ...job, ...file };
  const workers = Array.from({ length: count }, () => new Worker(script, { workerData }));
  try {
    await Promise.all(workers.map((worker) => serve(worker, queue, done)));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** Hands out work until there is none left. */
function serve(
  worker: Worker,
  queue: number[],
  done: (result: GroupResult) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const next = () => {
      const index = queue.shift();
      if (index === undefined) resolve();
      else worker.postMessage(index);
    };
    worker.on("message", (message: GroupResult | WorkerFailure) => {
      if ("failed" in message) {
        reject(new RepkitError(message.failed.kind, message.failed.message));
        return;
      }
      done(message);
      next();
    });
    worker.on("error", reject);
    worker.on("exit", (code) => {
      reject(new RepkitError("internal", `a worker thread stopped with code ${code}`));
    });
    next();
  });
}
