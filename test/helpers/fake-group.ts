// A process group whose processes all live in this one: collectives meet in memory, and anybody can be
// cut off from the others.

import type { ProcessGroup } from "../../src/engine/types.js";
import { RepkitError } from "../../src/errors.js";

interface Round {
  readonly arrived: Map<number, unknown>;
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class FakeGroups {
  readonly ranks: readonly ProcessGroup[];
  readonly values = new Map<string, string>();
  readonly counters = new Map<string, number>();
  /** Collectives of rank 0. */
  get collectives(): number {
    return this.#places[0]!;
  }
  readonly #cut = new Set<number>();
  readonly #rounds: Round[] = [];
  readonly #places: number[];

  constructor(worldSize: number) {
    this.#places = new Array<number>(worldSize).fill(0);
    this.ranks = Array.from({ length: worldSize }, (_, rank) => this.#group(rank));
  }

  /** Like a pulled cable: its calls never settle, and the others wait for it in vain. */
  cut(rank: number): void {
    this.#cut.add(rank);
  }

  /** Like a killed process: its peers are told at once. */
  lose(rank: number): void {
    this.cut(rank);
    this.fail();
  }

  /** Every collective that waits fails, as after its time is over. */
  fail(): void {
    for (const round of this.#rounds) round.reject(collectiveError());
  }

  #group(rank: number): ProcessGroup {
    const worldSize = this.#places.length;
    const guarded = async <T>(act: () => T): Promise<T> => {
      await new Promise((resolve) => setImmediate(resolve));
      // The leader has the store.
      if (this.#cut.has(rank) || this.#cut.has(0)) return new Promise<T>(() => undefined);
      return act();
    };
    return {
      ...{ rank, worldSize },
      allReduce: (numbers: Float64Array) =>
        this.#meet(rank, Float64Array.from(numbers), (all) => {
          const parts = all as Float64Array[];
          numbers.forEach((_, i) => (numbers[i] = parts.reduce((sum, part) => sum + part[i]!, 0)));
        }),
      broadcast: (bytes: Uint8Array) =>
        this.#meet(rank, bytes.slice(), ([first]) => {
          bytes.set(first as Uint8Array);
        }),
      barrier: () => this.#meet(rank, undefined, () => undefined),
      store: {
        set: (key: string, value: string) => guarded(() => void this.values.set(key, value)),
        get: (key: string) => guarded(() => this.values.get(key)),
        add: (key: string, amount: number) =>
          guarded(() => {
            const sum = (this.counters.get(key) ?? 0) + amount;
            this.counters.set(key, sum);
            return sum;
          }),
      },
      close: () => Promise.resolve(),
    } as unknown as ProcessGroup;
  }

  async #meet(rank: number, value: unknown, done: (all: unknown[]) => void): Promise<void> {
    if (this.#cut.has(rank)) return new Promise(() => undefined);
    const place = this.#places[rank]!++;
    const round = (this.#rounds[place] ??= newRound());
    round.arrived.set(rank, value);
    if (round.arrived.size === this.#places.length) round.resolve();
    await round.done;
    done(this.#places.map((_, each) => round.arrived.get(each)));
  }
}

function newRound(): Round {
  let settle: Pick<Round, "resolve" | "reject"> | undefined;
  const done = new Promise<void>((resolve, reject) => (settle = { resolve, reject }));
  done.catch(() => undefined);
  return { arrived: new Map(), done, ...settle! };
}

function collectiveError(): RepkitError {
  return new RepkitError("environment", "torch engine: Connection closed by peer");
}
