/** Folds the groups of a model on several threads, or on this one where that is quicker. */
import { existsSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

import { RepkitError } from "../errors.js";
import { elementCount, type StateSource } from "../graph/index.js";
import { GroupFolder, type GroupResult, type GroupsToFold } from "./groups.js";
import type { WorkerFailure, WorkerFile } from "./worker.js";

/** Below this size of the weights file, starting threads takes longer than the work. */
const SMALL_BYTES = 40e6;
const MAX_WORKERS = 8;

export interface FoldingOptions {
  readonly job: GroupsToFold;
  readonly state: StateSource;
  /** Called with the groups done and all of them. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface Pool {
  /** The results in the order of the groups. */
  fold(options: FoldingOptions): Promise<readonly GroupResult[]>;
  close(): Promise<void>;
}

/**
 * Starts the threads that will fold the model in a file, so that they load while the
 * model is being recognised. `threads`: 0 or 1 for none; default: the cores there are.
 */
export function startPool(
  { path, root }: WorkerFile,
  threads: number = availableParallelism(),
): Pool {
  const script = fileURLToPath(new URL("worker.js", import.meta.url));
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const isWorthIt = threads > 1 && size >= SMALL_BYTES && existsSync(script);
  const count = isWorthIt ? Math.min(threads, MAX_WORKERS) : 0;
  const workers = Array.from(
    { length: count },
    () => new Worker(script, { workerData: { path, root } }),
  );
  return {
    async fold(options) {
      const { job, onProgress } = options;
      const results: GroupResult[] = [];
      let finished = 0;
      const done = (result: GroupResult) => {
        results[result.index] = result;
        onProgress?.(++finished, job.folded.groups.length);
      };
      const queue = largestFirst(job);
      if (workers.length === 0) {
        await foldHere(options, queue, done);
      } else {
        for (const worker of workers) worker.postMessage(job);
        await Promise.all(workers.map((worker) => serve(worker, queue, done)));
      }
      return results;
    },
    async close() {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}

/** Indices of the groups, so ordered that no thread starts a long one last. */
function largestFirst({ folded: { groups, graph } }: GroupsToFold): number[] {
  const sizes = groups.map(({ convolution }) => {
    const weight = graph.nodes[graph.nodes[convolution]?.inputs[1] ?? -1];
    return elementCount(weight?.type.shape ?? []);
  });
  return groups.map((_, index) => index).sort((a, b) => sizes[b]! - sizes[a]!);
}

async function foldHere(
  { job, state }: FoldingOptions,
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
