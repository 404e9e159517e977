/** The checkpoint of a run: the model, and beside it all that going on exactly needs. */
import { types } from "node:util";

import {
  type CheckpointMetadata,
  type JsonObject,
  type LoadedCheckpoint,
  saveCheckpoint,
  type TensorEntry,
} from "../checkpoint/index.js";
import type { ExecutableState } from "../engine/types.js";
import { fileError } from "../errors.js";
import type { State, StateSource } from "../graph/index.js";
import type { Model } from "../zoo/index.js";
import { type EpochSums, NO_SUMS, type Progress } from "./progress.js";

/** Names beside the weights: "@momentum/stage1.0.conv1.weight". */
const SLOTS = { momentum: "@momentum/", ema: "@ema/" } as const;
/** The metadata key of what is not metadata of the model. */
const RUN_KEY = "run";

/** What describes the run and does not change. */
export interface RunIdentity {
  readonly model: Model;
  readonly classNames: readonly string[] | undefined;
  /** The resolved settings. */
  readonly config: JsonObject;
  readonly stepsPerEpoch: number;
}

/** Replaces the file. */
export function saveTraining(
  path: string,
  { model, classNames, config, stepsPerEpoch }: RunIdentity,
  { state, momentum, ema }: ExecutableState,
  progress: Progress,
): void {
  const { epoch, step, sums, seconds, best } = progress;
  const run = { stepsPerEpoch, sums, seconds, bestEpoch: best?.epoch ?? null };
  saveCheckpoint(path, {
    model,
    state,
    metadata: {
      ...{ epoch, step, recipe: config, classNames, bestAcc1: best?.acc1 },
      other: new Map([[RUN_KEY, JSON.stringify(run)]]),
    },
    beside: [...slot(SLOTS.momentum, momentum), ...(ema === undefined ? [] : slot(SLOTS.ema, ema))],
  });
}

function* slot(prefix: string, state: State): Iterable<TensorEntry> {
  for (const [name, tensor] of state) {
    // The averaged state has counters too.
    const dtype = types.isBigInt64Array(tensor.data) ? "I64" : "F32";
    yield { name: prefix + name, shape: tensor.shape, dtype, tensor: () => tensor };
  }
}

/** What a checkpoint of a run says beyond its weights. */
export interface StoppedRun {
  readonly progress: Progress;
  readonly stepsPerEpoch: number;
  readonly config: JsonObject;
  readonly momentum: StateSource | undefined;
  readonly ema: StateSource | undefined;
}

/**
 * @throws RepkitError "file" where the checkpoint is not one of a training run, or its numbers
 * cannot be meant
 */
export function stoppedRun({ path, file, metadata }: LoadedCheckpoint): StoppedRun {
  const text = metadata?.other?.get(RUN_KEY);
  const { epoch, step, recipe } = metadata ?? {};
  if (text === undefined || epoch === undefined || step === undefined || recipe === undefined) {
    throw fileError(
      path,
      "is not the checkpoint of a run; to start from its weights use --pretrained",
    );
  }
  const run = parseRun(path, text);
  const slotOf = (prefix: string): StateSource | undefined => {
    const isThere = [...file.tensors.keys()].some((name) => name.startsWith(prefix));
    return isThere ? { get: (name) => file.get(prefix + name) } : undefined;
  };
  return {
    progress: { epoch, step, sums: run.sums, seconds: run.seconds, best: bestOf(metadata, run) },
    stepsPerEpoch: run.stepsPerEpoch,
    config: recipe,
    momentum: slotOf(SLOTS.momentum),
    ema: slotOf(SLOTS.ema),
  };
}

interface RunFields {
  readonly stepsPerEpoch: number;
  readonly sums: EpochSums;
  readonly seconds: number;
  readonly bestEpoch: number | null;
}

function bestOf(metadata: CheckpointMetadata | undefined, run: RunFields): Progress["best"] {
  const acc1 = metadata?.bestAcc1;
  return acc1 === undefined || run.bestEpoch === null ? undefined : { acc1, epoch: run.bestEpoch };
}

function parseRun(path: string, text: string): RunFields {
  const bad = () => fileError(path, `the metadata "${RUN_KEY}" cannot be meant`);
  let run: Readonly<Record<string, unknown>>;
  try {
    run = Object(JSON.parse(text)) as Readonly<Record<string, unknown>>;
  } catch {
    throw bad();
  }
  const number = (value: unknown): number => {
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) throw bad();
    return value;
  };
  const sums = Object(run["sums"]) as Readonly<Record<string, unknown>>;
  const names = Object.keys(NO_SUMS) as (keyof EpochSums)[];
  return {
    stepsPerEpoch: number(run["stepsPerEpoch"]),
    seconds: number(run["seconds"]),
    bestEpoch: run["bestEpoch"] === null ? null : number(run["bestEpoch"]),
    sums: Object.fromEntries(
      names.map((name) => [name, number(sums[name])]),
    ) as unknown as EpochSums,
  };
}
