/** Threads that do the tasks of a loader, or this thread where none are wanted. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

import { RepkitError } from "../errors.js";
import { ImageTasks, type Task, type TaskContext } from "./image-tasks.js";
import { jpegAddon } from "./jpeg/addon.js";
import type { BadImage } from "./types.js";
import type { WorkerAnswer, WorkerOrder } from "./worker.js";

/** Tasks that a thread has at a time: one to do, and one for while its answer travels. */
const IN_FLIGHT = 2;

export interface TaskPool {
  /** Resolves with the images that could not be read. `first`: before all that wait. */
  run(task: Task, options?: { readonly first?: boolean }): Promise<readonly BadImage[]>;
  /** Forgets what no thread has begun; those promises never settle. */
  clear(): void;
  /** Ends when the images in hand are done; everything else is refused. */
  close(): Promise<void>;
}

interface Job {
  readonly task: Task;
  readonly resolve: (bad: readonly BadImage[]) => void;
  readonly reject: (error: unknown) => void;
}

/** `workers` 0: everything in this thread. */
export function startPool(context: TaskContext, workers: number): TaskPool {
  const script = fileURLToPath(new URL("worker.js", import.meta.url));
  return workers === 0 || !existsSync(script)
    ? new LocalPool(context)
    : new WorkerPool(context, script, workers);
}

class LocalPool implements TaskPool {
  readonly #tasks: ImageTasks;
  readonly #queue: Job[] = [];
  #isRunning = false;
  #isClosed = false;

  constructor(context: TaskContext) {
    this.#tasks = new ImageTasks(context, jpegAddon());
  }

  run(task: Task, { first = false } = {}): Promise<readonly BadImage[]> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) {
        reject(closed());
        return;
      }
      enqueue(this.#queue, { task, resolve, reject }, first);
      if (!this.#isRunning) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#isRunning = true;
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      // Timers, signals and the consumer get their turn.
      await new Promise((resolve) => setImmediate(resolve));
      await this.#tasks.run(job.task).then(job.resolve, job.reject);
    }
    this.#isRunning = false;
  }

  clear(): void {
    this.#queue.length = 0;
  }

  close(): Promise<void> {
    this.#isClosed = true;
    for (const job of this.#queue.splice(0)) job.reject(closed());
    return Promise.resolve();
  }
}

class WorkerPool implements TaskPool {
  readonly #queue: Job[] = [];
  readonly #threads: readonly Thread[];
  #failure: RepkitError | undefined;

  constructor(context: TaskContext, script: string, count: number) {
    const fail = (error: RepkitError) => {
      this.#fail(error);
    };
    this.#threads = Array.from(
      { length: count },
      () => new Thread(new Worker(script, { workerData: context }), fail),
    );
  }

  /** From now on; the first reason is the one that counts. */
  #fail(error: RepkitError): void {
    this.#failure ??= error;
    for (const job of this.#queue.splice(0)) job.reject(this.#failure);
  }

  run(task: Task, { first = false } = {}): Promise<readonly BadImage[]> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      enqueue(this.#queue, { task, resolve, reject }, first);
      this.#handOut();
    });
  }

  #handOut(): void {
    for (let load = 0; load < IN_FLIGHT; load++) {
      for (const thread of this.#threads) {
        if (thread.load !== load) continue;
        const job = this.#queue.shift();
        if (job === undefined) return;
        thread.give(job, () => {
          this.#handOut();
        });
      }
    }
  }

  clear(): void {
    this.#queue.length = 0;
  }

  async close(): Promise<void> {
    this.#fail(closed());
    await Promise.all(this.#threads.map((thread) => thread.stop()));
  }
}

class Thread {
  readonly #worker: Worker;
  readonly #open = new Map<number, { readonly job: Job; readonly done: () => void }>();
  #count = 0;
  #isStopping = false;
  readonly #exited: Promise<void>;

  constructor(worker: Worker, onFailure: (error: RepkitError) => void) {
    this.#worker = worker;
    const fail = (error: RepkitError) => {
      for (const { job } of this.#open.values()) job.reject(error);
      this.#open.clear();
      onFailure(error);
    };
    worker.on("message", (answer: WorkerAnswer) => {
      const entry = this.#open.get(answer.id);
      this.#open.delete(answer.id);
      if (entry === undefined) return;
      if ("failed" in answer) entry.job.reject(new RepkitError("internal", answer.failed));
      else entry.job.resolve(answer.bad);
      entry.done();
    });
    worker.on("error", (error) => {
      fail(stopped(error instanceof Error ? error.message : String(error), error));
    });
    this.#exited = new Promise((resolve) => {
      worker.on("exit", (code) => {
        fail(this.#isStopping ? closed() : stopped(`it exited with code ${code}`));
        resolve();
      });
    });
    // A loader that is not closed must not keep the process alive.
    worker.unref();
  }

  get load(): number {
    return this.#open.size;
  }

  give(job: Job, done: () => void): void {
    const id = this.#count++;
    if (this.#open.size === 0) this.#worker.ref();
    this.#open.set(id, {
      job,
      done: () => {
        // One that is to stop is waited for.
        if (this.#open.size === 0 && !this.#isStopping) this.#worker.unref();
        done();
      },
    });
    this.#worker.postMessage({ id, task: job.task } satisfies WorkerOrder);
  }

  /** After the images in hand: a thread that is torn out of native code may take the process with it. */
  stop(): Promise<void> {
    this.#isStopping = true;
    this.#worker.ref();
    this.#worker.postMessage("stop" satisfies WorkerOrder);
    return this.#exited;
  }
}

function stopped(reason: string, cause?: unknown): RepkitError {
  const message = `a thread that prepares images stopped: ${reason}`;
  return new RepkitError("internal", message, { cause });
}

function closed(): RepkitError {
  return new RepkitError("internal", "the loader is closed");
}

function enqueue(queue: Job[], job: Job, first: boolean): void {
  if (first) queue.unshift(job);
  else queue.push(job);
}
