/**
 * The processes of one training job as the job sees them: who leads, sums over all, values from the
 * leader. A job of one process has a team too, `ALONE`, and needs no cases of its own.
 */
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import type { Engine, ProcessGroup } from "../../engine/types.js";
import { usageError } from "../../errors.js";
import type { PeerFailure } from "./failure.js";
import type { Place } from "./place.js";
import { Watch } from "./watch.js";

export interface Team {
  readonly rank: number;
  readonly worldSize: number;
  /** Rank 0: it writes the files, and what is shown to people. */
  readonly isLeader: boolean;
  /** Undefined: one process. */
  readonly place: Place | undefined;
  /** Machines: each gives as many images to a step. */
  readonly nodes: number;
  /** What engines average gradients over. Undefined: one process. */
  readonly group: ProcessGroup | undefined;
  /** Aborts when the job has to end because of another process. */
  readonly signal: AbortSignal;
  /** Adds up numbers over the processes; each gets the same sums. Half of the timeout is the limit. */
  sum(values: readonly number[]): Promise<readonly number[]>;
  /** What `make` returns in the leader: JSON data, under a name that is used once. No limit of time. */
  fromLeader<T>(name: string, make: () => T | Promise<T>): Promise<T>;
  /** Returns when all processes have come here; the name is used once. No limit of time. */
  meet(name: string): Promise<void>;
  /** Replaces the bytes by the leader's. */
  broadcast(bytes: Uint8Array): Promise<void>;
  /** The promise, or the failure of another process, where that is sooner. */
  race<T>(work: Promise<T>): Promise<T>;
  /** What this process is about, for the others in case they wait for it. */
  at(what: string): void;
  /** What is behind an error of this process; the others are told of it. */
  explain(error: unknown): Promise<unknown>;
  /** Leaves in order, with the others: what comes after it is each process's own business. */
  leave(): Promise<void>;
}

const never = new AbortController().signal;

export const ALONE: Team = {
  ...{ rank: 0, worldSize: 1, isLeader: true, place: undefined, nodes: 1 },
  ...{ group: undefined, signal: never },
  sum: (values) => Promise.resolve(values),
  fromLeader: async (_name, make) => make(),
  meet: () => Promise.resolve(),
  broadcast: () => Promise.resolve(),
  race: (work) => work,
  at: () => undefined,
  explain: (error) => Promise.resolve(error),
  leave: () => Promise.resolve(),
};

export interface TeamOptions {
  readonly engine: Engine;
  readonly place: Place;
  /** Ends the waiting for the other processes, with its reason. */
  readonly stop: AbortSignal;
  /** Aborts when somebody else knows that a process has failed; the reason is a PeerFailure. */
  readonly failed?: AbortSignal | undefined;
}

/** Between two looks into the store. */
const POLL = { shortest: 10, longest: 500 } as const; // ms
/** For calls that hang in the failure of another process. */
const UNWINDING = 3000; // ms

/** Joins the other processes, does the work, and leaves in order; a failure ends it in all of them. */
export async function inTeam<T>(
  options: TeamOptions,
  work: (team: Team) => Promise<T>,
): Promise<T> {
  const { engine, place, stop } = options;
  const { failed } = options;
  const waiting = AbortSignal.any(failed === undefined ? [stop] : [stop, failed]);
  const group = await connect(engine, place, waiting);
  const watch = new Watch({
    ...{ store: group.store, rank: place.rank, worldSize: place.worldSize, url: place.url },
    timeoutSeconds: place.timeoutSeconds,
    where: `process ${process.pid} on ${hostname()}`,
    isStop: (error) => stop.aborted && error === stop.reason,
  });
  watch.start();
  const report = () => void watch.report(failed?.reason as PeerFailure);
  failed?.addEventListener("abort", report, { once: true });
  const team = new ProcessTeam(group, watch, place);
  const working = work(team);
  try {
    const result = await team.race(working);
    await team.leave();
    return result;
  } catch (error) {
    failed?.removeEventListener("abort", report);
    if (team.hasLeft) throw error;
    const cause = await watch.explain(error);
    await watch.acknowledge();
    await watch.stop();
    // What hangs in a collective fails now.
    const unwinding = Math.min(UNWINDING, 50 * place.timeoutSeconds);
    await Promise.race([group.close(), sleep(unwinding, undefined, { ref: false })]);
    // Files are closed and the run directory is let go, unless a call hangs all the same.
    await Promise.race([
      working.catch(() => undefined),
      sleep(unwinding, undefined, { ref: false }),
    ]);
    throw cause;
  } finally {
    await Promise.race([group.close(), sleep(UNWINDING, undefined, { ref: false })]);
  }
}

async function connect(engine: Engine, place: Place, stop: AbortSignal): Promise<ProcessGroup> {
  if (engine.connect === undefined) {
    throw usageError(`engine ${engine.name}: trains in one process alone; use --engine torch`);
  }
  stop.throwIfAborted();
  const { url, rank, worldSize, backend, timeoutSeconds } = place;
  const connecting = engine.connect({
    ...{ url, rank, worldSize, timeoutSeconds },
    // As the watch: see there.
    collectiveTimeoutSeconds: timeoutSeconds / 2,
    ...(backend === null ? {} : { backend }),
  });
  return new Promise((resolve, reject) => {
    const abort = () => {
      reject(stop.reason as Error);
    };
    stop.addEventListener("abort", abort, { once: true });
    connecting
      .finally(() => {
        stop.removeEventListener("abort", abort);
      })
      .then(resolve, reject);
  });
}

class ProcessTeam implements Team {
  readonly rank: number;
  readonly worldSize: number;
  readonly group: ProcessGroup;
  readonly #watch: Watch;
  readonly place: Place;
  hasLeft = false;

  constructor(group: ProcessGroup, watch: Watch, place: Place) {
    this.rank = group.rank;
    this.worldSize = group.worldSize;
    this.group = group;
    this.place = place;
    this.#watch = watch;
  }

  get nodes(): number {
    return this.worldSize / this.place.localSize;
  }

  get isLeader(): boolean {
    return this.rank === 0;
  }

  get signal(): AbortSignal {
    return this.#watch.signal;
  }

  async sum(values: readonly number[]): Promise<readonly number[]> {
    const numbers = Float64Array.from(values);
    await this.race(this.group.allReduce(numbers));
    return [...numbers];
  }

  async fromLeader<T>(name: string, make: () => T | Promise<T>): Promise<T> {
    const key = `leader/${name}`;
    if (this.isLeader) {
      const value = await make();
      await this.race(this.group.store.set(key, JSON.stringify(value ?? null)));
      return value;
    }
    const text = await this.#poll(() => this.group.store.get(key));
    return JSON.parse(text) as T;
  }

  async meet(name: string): Promise<void> {
    const key = `meet/${name}`;
    await this.race(this.group.store.add(key, 1));
    await this.#poll(async () =>
      (await this.group.store.add(key, 0)) >= this.worldSize ? true : undefined,
    );
  }

  async broadcast(bytes: Uint8Array): Promise<void> {
    await this.race(this.group.broadcast(bytes));
  }

  async race<T>(work: Promise<T>): Promise<T> {
    work.catch(() => undefined);
    const { signal } = this;
    signal.throwIfAborted();
    let abort = () => undefined as void;
    const failed = new Promise<never>((_, reject) => {
      abort = () => {
        reject(signal.reason as Error);
      };
      signal.addEventListener("abort", abort, { once: true });
    });
    try {
      return await Promise.race([work, failed]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  at(what: string): void {
    this.#watch.at(what);
  }

  explain(error: unknown): Promise<unknown> {
    return this.#watch.explain(error);
  }

  async leave(): Promise<void> {
    if (this.hasLeft) return;
    this.at("leaving");
    await this.meet("leave");
    this.hasLeft = true;
    await this.#watch.stop();
    // Nobody takes the store away while somebody else still says goodbye.
    await this.group.barrier();
  }

  async #poll<T>(look: () => Promise<T | undefined>): Promise<T> {
    for (let wait: number = POLL.shortest; ; wait = Math.min(2 * wait, POLL.longest)) {
      const found = await this.race(look());
      if (found !== undefined) return found;
      await this.race(sleep(wait));
    }
  }
}
