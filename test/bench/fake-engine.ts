// An engine that computes nothing and notes what it was asked.

import type { OperationTime } from "../../src/bench/index.js";
import type {
  Batch,
  Engine,
  Executable,
  LoadOptions,
  StepOptions,
} from "../../src/engine/types.js";

export interface FakeOptions {
  /** Milliseconds of each run, in order. */
  readonly milliseconds?: readonly number[];
  readonly profile?: readonly OperationTime[];
  /** The run (counted from 1) that fails. */
  readonly failsAt?: number;
}

export interface FakeEngine extends Engine {
  readonly loads: LoadOptions[];
  readonly runs: {
    readonly kind: string;
    readonly batch?: Batch;
    readonly options?: StepOptions;
  }[];
  readonly disposed: { count: number };
}

export function fakeEngine({ milliseconds = [], profile, failsAt }: FakeOptions = {}): FakeEngine {
  const loads: LoadOptions[] = [];
  const runs: FakeEngine["runs"] = [];
  const disposed = { count: 0 };
  const run = async (entry: FakeEngine["runs"][number]) => {
    runs.push(entry);
    if (runs.length === failsAt) throw new Error("the machine is on fire");
    const delay = milliseconds[runs.length - 1] ?? 0;
    await new Promise((resolve) => setTimeout(resolve, delay));
  };
  const executable: Partial<Executable> = {
    async trainStep(batch, options) {
      await run({ kind: "step", batch, options });
      return { loss: 7 - runs.length, top1: 0, top5: 0 };
    },
    async infer() {
      await run({ kind: "forward" });
      return { outputs: new Map(), values: new Map() };
    },
    async dispose() {
      disposed.count += 1;
    },
    ...(profile === undefined ? {} : { profile: async () => profile }),
  };
  return {
    name: "fake",
    description: "fake engine 1.0",

    devices: ["cpu"],
    ...{ loads, runs, disposed },
    async load(_graph, _state, options = {}) {
      loads.push(options);
      return executable as Executable;
    },
  };
}
