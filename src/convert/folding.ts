/** Folds the groups of a model on several threads. */
import type { Worker } from "node:worker_threads";

import { RepkitError } from "../errors.js";
import { elementCount, type StateSource } from "../graph/index.js";
import type { ModelOptions } from "../zoo/index.js";
import type { FoldedWeights } from "./folded-weights.js";
import { GroupFolder, type GroupResult, type GroupsToFold } from "./groups.js";
import type { Task, WorkerFailure } from "./worker.js";

export interface FoldingOptions {
  readonly job: GroupsToFold;
  readonly state: StateSource;
  /** Which network it is; that is all of it that a thread is told. */
  readonly model: Required<Pick<ModelOptions, "arch" | "block" | "structure" | "numClasses">>;
  /** Called with the groups done and all of them. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface Folding {
  readonly weights: FoldedWeights;
  /** In the order of the groups. */
  readonly results: readonly GroupResult[];
  /** What the network before folding makes of the test image; where there is to be a check. */
  readonly logits: Float64Array | undefined;
}

/** `workers`: those of the pool that was started for this file; this thread folds with them. */
export async function foldGroups(
  workers: readonly Worker[],
  options: FoldingOptions,
): Promise<Folding> {
  const { job, state, onProgress } = options;
  const results: GroupResult[] = [];
  let logits: Float64Array | undefined;
  let finished = 0;
  const done = (answer: Answer) => {
    if ("logits" in answer) {
      logits = answer.logits;
      return;
    }
    results[answer.index] = answer;
    onProgress?.(++finished, job.folded.groups.length);
  };
  const queue = tasks(options);
  const folder = new GroupFolder(job, state);
  const { weights } = folder;
  for (const worker of workers) worker.postMessage({ ...job, memory: weights.memory });
  const served = workers.map((worker) => serve(worker, queue, done));
  await Promise.all([...served, foldHere(folder, queue, done)]);
  return { weights, results, logits };
}

/** So ordered that no thread starts a long one last. */
function tasks({ job, model }: FoldingOptions): Task[] {
  const { groups, graph } = job.folded;
  const sizes = groups.map(({ convolution }) => {
    const weight = graph.nodes[graph.nodes[convolution]?.inputs[1] ?? -1];
    return elementCount(weight?.type.shape ?? []);
  });
  const order = groups.map((_, index) => index).sort((a, b) => sizes[b]! - sizes[a]!);
  const { arch, block, structure, numClasses } = model;
  const network: Task = { network: { arch, block, structure, numClasses } };
  return [...(job.verify ? [network] : []), ...order.map((group) => ({ group }))];
}

async function foldHere(
  folder: GroupFolder,
  queue: Task[],
  done: (answer: Answer) => void,
): Promise<void> {
  for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
    if ("network" in task) done({ logits: folder.logits(task.network) });
    else done(folder.fold(task.group));
    // Signals, progress and the other threads' results get their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

type Answer = GroupResult | { readonly logits: Float64Array };

/** Tasks that a thread has at a time: one to do, and one for while its result waits to be received. */
const IN_FLIGHT = 2;

/** Hands out work until there is none left, and waits for the results. */
function serve(worker: Worker, queue: Task[], done: (answer: Answer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let open = 0;
    const handOut = () => {
      for (; open < IN_FLIGHT && queue.length > 0; open++) worker.postMessage(queue.shift());
      if (open === 0) resolve();
    };
    worker.on("message", (message: Answer | WorkerFailure) => {
      if ("failed" in message) {
        reject(new RepkitError(message.failed.kind, message.failed.message));
        return;
      }
      open--;
      done(message);
      handOut();
    });
    worker.on("error", reject);
    worker.on("exit", (code) => {
      reject(new RepkitError("internal", `a worker thread stopped with code ${code}`));
    });
    handOut();
  });
}
