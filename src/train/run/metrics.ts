/**
 * metrics.jsonl: one JSON object per line, for each printed step and each epoch, in the order in which
 * they were done. A resumed run drops what was written after its checkpoint, so that its file
 * ends up as that of a run that was never stopped, times aside.
 */
import { closeSync, fsyncSync, openSync, readFileSync, statSync, writeSync } from "node:fs";

import { fileError } from "../../errors.js";
import { writeFileAtomically } from "../../util/atomic-write.js";
import { systemFailure } from "./failure.js";

export interface StepMetrics {
  readonly kind: "step";
  /** The epoch that the step belongs to; the first is 1. */
  readonly epoch: number;
  /** Steps done since the run began, this one included. */
  readonly step: number;
  readonly loss: number | null;
  /** Percent of the images whose class was the first guess, or among the first five. */
  readonly acc1: number | null;
  readonly acc5: number | null;
  readonly lr: number | null;
  readonly images_per_second: number | null;
  /** Seconds that the step waited for its images; they are part of `step_seconds`. */
  readonly data_seconds: number | null;
  readonly step_seconds: number | null;
}

export interface EpochMetrics {
  readonly kind: "epoch";
  /** The epoch that is done; the first is 1. */
  readonly epoch: number;
  readonly train_loss: number | null;
  /** Of the validation images, as are acc1 and acc5 (percent); null where there are none. */
  readonly val_loss: number | null;
  readonly acc1: number | null;
  readonly acc5: number | null;
  readonly best_acc1: number | null;
  /** Training and validation. */
  readonly seconds: number | null;
}

/** Numbers that are not finite (a loss that diverged) are written as null, and read so. */
export type Metrics = StepMetrics | EpochMetrics;

/** How far the checkpoint had come that a run goes on from: epochs and steps done. */
export interface ResumePoint {
  readonly epoch: number;
  readonly step: number;
}

export interface MetricsFile {
  append(this: void, metrics: Metrics): void;
  /** Puts what was appended on the disk; do so before the checkpoint that goes beyond it. */
  flush(this: void): void;
  close(this: void): void;
}

/** What a line holds, in this order; docs/cli.md is the contract. */
const STEP_FIELDS = [
  "epoch",
  "step",
  "loss",
  "acc1",
  "acc5",
  "lr",
  "images_per_second",
  "data_seconds",
  "step_seconds",
] as const satisfies readonly (keyof StepMetrics)[];
const EPOCH_FIELDS = [
  "epoch",
  "train_loss",
  "val_loss",
  "acc1",
  "acc5",
  "best_acc1",
  "seconds",
] as const satisfies readonly (keyof EpochMetrics)[];
const FIELDS = { step: STEP_FIELDS, epoch: EPOCH_FIELDS } as const;
/** These are counts; the others are numbers or null. */
const COUNTS: readonly string[] = ["epoch", "step"];

const MAX_BYTES = 2 ** 28; // a million steps; a string holds no more than 2^29

/** Opens the file to append to it, without the lines beyond `from`. */
export function openMetrics(path: string, from: ResumePoint): MetricsFile {
  trim(path, from);
  const descriptor = attempt(path, () => openSync(path, "a"));
  let isOpen = true;
  return {
    append(metrics) {
      const line = Buffer.from(formatMetrics(metrics));
      for (let done = 0; done < line.length;) {
        const start = done;
        done += attempt(path, () => writeSync(descriptor, line, start));
      }
    },
    flush: () => attempt(path, () => fsyncSync(descriptor)),
    close() {
      if (isOpen) closeSync(descriptor);
      isOpen = false;
    },
  };
}

/** The lines of the file, none where there is no file; a last line that was cut off is left out. */
export function readMetrics(path: string): Metrics[] {
  const text = attempt(path, () => {
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size > MAX_BYTES) throw fileError(path, `is too large (${size} bytes)`);
    return size === 0 ? "" : readFileSync(path, "utf8");
  });
  // What follows the last line end is nothing, or a line that was not written to its end.
  const lines = text.split("\n").slice(0, -1);
  return lines.map((line, index) => {
    const metrics = parseMetrics(line);
    if (metrics !== undefined) return metrics;
    const problem = `line ${index + 1} does not belong to a training run`;
    throw fileError(path, `${problem}; move the file away to go on without it`);
  });
}

/** One line, with its end. */
export function formatMetrics(metrics: Metrics): string {
  const values: Readonly<Record<string, unknown>> = { ...metrics };
  const fields = FIELDS[metrics.kind].map((field) => [field, values[field]] as const);
  return `${JSON.stringify({ kind: metrics.kind, ...Object.fromEntries(fields) })}\n`;
}

function parseMetrics(line: string): Metrics | undefined {
  let values: Readonly<Record<string, unknown>>;
  try {
    values = Object(JSON.parse(line)) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
  const kind = values["kind"];
  if (kind !== "step" && kind !== "epoch") return undefined;
  const isWhole = FIELDS[kind].every((field) => {
    const value = values[field];
    return COUNTS.includes(field)
      ? Number.isSafeInteger(value)
      : value === null || typeof value === "number";
  });
  return isWhole ? (values as unknown as Metrics) : undefined;
}

function trim(path: string, from: ResumePoint): void {
  const kept = readMetrics(path).filter((metrics) => isDone(metrics, from));
  const text = kept.map(formatMetrics).join("");
  writeFileAtomically(path, (sink) => sink.write(Buffer.from(text)));
}

function isDone(metrics: Metrics, from: ResumePoint): boolean {
  switch (metrics.kind) {
    case "step":
      return metrics.step <= from.step;
    case "epoch":
      return metrics.epoch <= from.epoch;
  }
}

/** Runs a system call; its failure becomes an error that names the file. */
function attempt<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw systemFailure(path, error);
  }
}
