/**
 * Whether the other processes of a job live. Each tells the store (c10d's TCPStore, in the leader's
 * process) that it does and what it is about; the leader listens to all of them, the others to the
 * leader, so that W processes cost about 2W small messages a round. Whoever finds a failure, its own or
 * another's, records it in the store; the first record counts, and ends the job everywhere.
 *
 * What has a limit: half of the timeout for silence (here) and for keeping the others waiting in a
 * collective (the process group), so that the whole job has ended when the timeout is over.
 */
import { setTimeout as sleep } from "node:timers/promises";

import type { ProcessStore } from "../../engine/types.js";
import { RepkitError } from "../../errors.js";
import { type FailureRecord, parseRecord, PeerFailure, recordOf } from "./failure.js";

export interface WatchOptions {
  readonly store: ProcessStore;
  readonly rank: number;
  readonly worldSize: number;
  readonly timeoutSeconds: number;
  /** Host and process, for people. */
  readonly where: string;
  /** Of the leader's store. */
  readonly url: string;
  /** Whether an error means that a signal has ended this process. */
  readonly isStop: (error: unknown) => boolean;
}

/** What a process is about, and since when in its own milliseconds. */
interface Activity {
  readonly what: string;
  readonly since: number;
}

interface Beat {
  readonly count: number;
  readonly what: string;
  /** Seconds spent on it. */
  readonly seconds: number;
  readonly where: string;
}

const FAILING = "failing";
const DONE = "done";
const LONGEST_INTERVAL = 2; // seconds

export class Watch {
  readonly #options: WatchOptions;
  /** Seconds between two signs of life, and without one before a process counts as lost. */
  readonly #interval: number;
  readonly #limit: number;
  readonly #ended = new AbortController();
  readonly #stopped = new AbortController();
  /** By rank: the last sign of life, and the seconds since it came. */
  readonly #beats = new Map<number, { beat: Beat | undefined; silence: number }>();
  #activity: Activity = { what: "starting", since: performance.now() };
  #count = 0;
  #lastRound = performance.now();
  #loop: Promise<void> = Promise.resolve();
  #hasAcknowledged = false;
  #explained: Promise<unknown> | undefined;

  constructor(options: WatchOptions) {
    this.#options = options;
    const { rank, worldSize, timeoutSeconds } = options;
    this.#interval = Math.min(LONGEST_INTERVAL, timeoutSeconds / 20);
    this.#limit = timeoutSeconds / 2;
    const others = rank === 0 ? Array.from({ length: worldSize - 1 }, (_, i) => i + 1) : [0];
    for (const other of others) this.#beats.set(other, { beat: undefined, silence: 0 });
  }

  /** Aborts when the job has to end because of another process; the reason is a PeerFailure. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** What this process is about, from here on. */
  at(what: string): void {
    this.#activity = { what, since: performance.now() };
  }

  /** Ends the signs of life in order: nobody misses this process from here on. */
  async stop(): Promise<void> {
    this.at(DONE);
    this.#stopped.abort();
    const goodbye = async () => {
      await this.#loop;
      if (!this.#ended.signal.aborted) await this.#beat();
    };
    await this.#within(goodbye(), Math.min(this.#limit, 1)).catch(() => undefined);
  }

  /** After a failure: the leader need not wait for this process; itself, it waits for the others. */
  async acknowledge(): Promise<void> {
    if (this.#options.rank === 0 && this.#ended.signal.aborted) {
      const { record } = this.#ended.signal.reason as PeerFailure;
      await this.#within(this.#othersHaveRead(record)).catch(() => undefined);
    }
    if (this.#hasAcknowledged || this.#options.rank === 0) return;
    this.#hasAcknowledged = true;
    const said = this.#options.store.add("failure-seen", 1);
    await this.#within(said, Math.min(this.#limit, 1)).catch(() => undefined);
  }

  /** Somebody who knows (the launcher of this node) says that a process has failed. */
  async report(failure: PeerFailure): Promise<void> {
    if (!this.#ended.signal.aborted) this.#ended.abort(failure);
    await this.#record(failure.record);
  }

  /**
   * What is behind an error of this process: another one's failure, where a collective failed because
   * of it; otherwise the error, which the others are told.
   */
  explain(error: unknown): Promise<unknown> {
    this.#explained ??= this.#explain(error);
    return this.#explained;
  }

  async #explain(error: unknown): Promise<unknown> {
    if (!this.#ended.signal.aborted && isCollective(error)) await this.#findCulprit();
    if (this.#ended.signal.aborted) return this.#ended.signal.reason;
    this.#stopped.abort();
    if (error instanceof PeerFailure) return error;
    const { rank, where, isStop } = this.#options;
    await this.#record({ ...recordOf(error, rank, where), isStop: isStop(error) });
    return error;
  }

  async #run(): Promise<void> {
    while (!this.#isOver()) {
      try {
        await this.#within(this.#round());
      } catch (error) {
        // Whoever started the processes of this node may know better what became of the leader.
        await this.#pause(0.3);
        if (!this.#isOver()) this.#lostStore(error);
        return;
      }
      await this.#pause(this.#interval);
    }
  }

  async #pause(seconds: number): Promise<void> {
    const signal = AbortSignal.any([this.#ended.signal, this.#stopped.signal]);
    await sleep(seconds * 1000, undefined, { signal }).catch(() => undefined);
  }

  #isOver(): boolean {
    return this.#ended.signal.aborted || this.#stopped.signal.aborted;
  }

  async #round(): Promise<void> {
    await this.#beat();
    const text = await this.#options.store.get("failure");
    const failure = text === undefined ? undefined : parseRecord(text);
    if (failure !== undefined) {
      this.#end(failure);
      await this.acknowledge();
      return;
    }
    // Time that this process spent otherwise (writing a checkpoint) is nobody's silence.
    const now = performance.now();
    const passed = Math.min((now - this.#lastRound) / 1000, 2 * this.#interval);
    this.#lastRound = now;
    for (const [rank, seen] of this.#beats) {
      const beat = parseBeat(await this.#options.store.get(`beat/${rank}`));
      const isNew = beat?.count !== seen.beat?.count || beat?.what === DONE;
      this.#beats.set(rank, { beat, silence: isNew ? 0 : seen.silence + passed });
    }
    const failing = this.#activity.what === FAILING;
    // A collective has failed: the leader need not give the silent the whole time.
    const isHasty = failing && this.#options.rank === 0;
    const limit = isHasty ? Math.min(this.#limit, this.#hasty) : this.#limit;
    const lost = [...this.#beats].find(([, { silence }]) => silence > limit);
    if (lost !== undefined) await this.#lose(...lost);
  }

  /** Seconds. */
  get #hasty(): number {
    return 3 * this.#interval + 1;
  }

  async #beat(): Promise<void> {
    const { store, rank, where } = this.#options;
    const { what, since } = this.#activity;
    const seconds = (performance.now() - since) / 1000;
    const beat: Beat = { count: ++this.#count, what, seconds, where };
    await store.set(`beat/${rank}`, JSON.stringify(beat));
  }

  async #lose(rank: number, { beat, silence }: { beat: Beat | undefined; silence: number }) {
    const about = beat === undefined ? "" : `; its last word: ${beat.what}`;
    const message = `has not been heard from for ${silence.toFixed(1)} s${about}`;
    await this.report(new PeerFailure({ rank, kind: "environment", message, where: beat?.where }));
  }

  #lostStore(error: unknown): void {
    const { url } = this.#options;
    const why = error instanceof Error ? ` (${error.message})` : "";
    const message = `its store at ${url} cannot be reached: the process has ended, or the network to it is down${why}`;
    this.#end({ rank: 0, kind: "environment", message, where: this.#beats.get(0)?.beat?.where });
  }

  /** Watches for a while who falls silent, and then asks who was about something else. */
  async #findCulprit(): Promise<void> {
    this.at(FAILING);
    const { rank } = this.#options;
    const deadline = performance.now() + 1000 * (rank === 0 ? this.#hasty : this.#limit);
    const patience = this.#hasty + 3 * this.#interval;
    let failingFor = 0;
    while (!this.#ended.signal.aborted && performance.now() < deadline + 1000 * this.#interval) {
      const started = performance.now();
      await this.#pause(this.#interval / 2);
      // The leader has met the failure too, and found nobody to blame.
      const leader = this.#beats.get(0)?.beat;
      failingFor += leader?.what === FAILING ? (performance.now() - started) / 1000 : 0;
      if (rank !== 0 && failingFor > patience) break;
    }
    const slow = [...this.#beats].find(([, { beat }]) => beat !== undefined && isBusy(beat));
    if (this.#ended.signal.aborted || slow === undefined) return;
    const [slowRank, { beat }] = slow;
    const message = `kept the others waiting: ${beat?.what} for ${beat?.seconds.toFixed(1)} s`;
    const record = { rank: slowRank, kind: "environment", message, where: beat?.where } as const;
    await this.report(new PeerFailure(record));
  }

  #end(record: FailureRecord): void {
    if (!this.#ended.signal.aborted) this.#ended.abort(new PeerFailure(record));
  }

  /** The first record counts. The leader, whose store goes with it, waits until the others have read it. */
  async #record(record: FailureRecord): Promise<void> {
    const { store } = this.#options;
    const write = async () => {
      if ((await store.add("failures", 1)) === 1)
        await store.set("failure", JSON.stringify(record));
      await this.#othersHaveRead(record);
    };
    await this.#within(write()).catch(() => undefined);
  }

  async #othersHaveRead(record: FailureRecord): Promise<void> {
    const { store, rank, worldSize } = this.#options;
    const until = performance.now() + 1000 * this.#hasty;
    const others = worldSize - 1 - (record.rank === rank ? 0 : 1);
    while (rank === 0 && performance.now() < until) {
      if ((await store.add("failure-seen", 0)) >= others) return;
      await sleep(this.#interval * 250);
    }
  }

  /** Rejects where the store takes longer than a process may be silent: the connection hangs. */
  async #within<T>(work: Promise<T>, seconds = this.#limit): Promise<T> {
    const timer = new AbortController();
    const late = sleep(seconds * 1000, undefined, { signal: timer.signal }).then(() => {
      throw new RepkitError("environment", `no answer in ${seconds} s`);
    });
    late.catch(() => undefined);
    try {
      return await Promise.race([work, late]);
    } finally {
      timer.abort();
      work.catch(() => undefined);
    }
  }
}

/** Whether an error may come from another process: the engine says so of its collectives. */
function isCollective(error: unknown): boolean {
  return error instanceof RepkitError && error.kind === "environment";
}

function isBusy({ what }: Beat): boolean {
  return what !== FAILING && what !== DONE;
}

function parseBeat(text: string | undefined): Beat | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as Beat);
}
