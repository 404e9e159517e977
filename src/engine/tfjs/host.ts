/** The engine's thread, seen from outside: calls go there and come back in their order. */
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

import { RepkitError } from "../../errors.js";
import type { BackendName } from "./backend.js";
import {
  type Answer,
  buffersOf,
  type CallName,
  type Calls,
  type Failure,
  type Ready,
  type Request,
  type Start,
} from "./protocol.js";

/** The compiled worker beside this file. */
export const WORKER_SCRIPT = fileURLToPath(new URL("worker.js", import.meta.url));

interface Open {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: RepkitError) => void;
}

export class Host {
  readonly #worker: Worker;
  readonly #open = new Map<number, Open>();
  #count = 0;
  #failure: RepkitError | undefined;

  private constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** Starts a thread and waits until its backend is there; rejects with that backend's error. */
  static start(backend: BackendName, script: string): Promise<{ host: Host; ready: Ready }> {
    return new Promise((resolve, reject) => {
      const worker = new Worker(script, { workerData: { backend } satisfies Start });
      const host = new Host(worker);
      const fail = (reason: string) => {
        const message = `the thread of engine tfjs:${backend} stopped: ${reason}`;
        const error = new RepkitError("internal", message);
        host.#fail(error);
        reject(error);
      };
      worker.on("message", (answer: Answer) => {
        if ("ready" in answer) {
          worker.unref();
          resolve({ host, ready: answer.ready });
        } else if ("startFailed" in answer) {
          void worker.terminate();
          reject(asError(answer.startFailed));
        } else {
          host.#settle(answer);
        }
      });
      worker.on("error", (error) => fail(error instanceof Error ? error.message : String(error)));
      worker.on("exit", (code) => fail(`it exited with code ${code}`));
    });
  }

  /** Buffers in `args` are given away. */
  call<K extends CallName>(
    executable: number,
    call: K,
    ...args: Parameters<Calls[K]>
  ): Promise<ReturnType<Calls[K]>> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      const id = this.#count++;
      // An engine that nothing waits for must not keep the process alive.
      if (this.#open.size === 0) this.#worker.ref();
      this.#open.set(id, { resolve: resolve as Open["resolve"], reject });
      const request = { id, executable, call, args } as Request;
      this.#worker.postMessage(request, buffersOf(args));
    });
  }

  #settle(answer: Extract<Answer, { readonly id: number }>): void {
    const open = this.#open.get(answer.id);
    this.#open.delete(answer.id);
    if (this.#open.size === 0) this.#worker.unref();
    if ("failed" in answer) open?.reject(asError(answer.failed));
    else open?.resolve(answer.result);
  }

  #fail(error: RepkitError): void {
    this.#failure ??= error;
    for (const { reject } of this.#open.values()) reject(this.#failure);
    this.#open.clear();
  }
}

function asError({ kind, message, details }: Failure): RepkitError {
  return new RepkitError(kind, message, { details });
}
