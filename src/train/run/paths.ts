/** What is where in a run directory. */
import { join } from "node:path";

export interface RunPaths {
  readonly directory: string;
  /** Where to go on: replaced by every save. */
  readonly last: string;
  /** The checkpoint of the highest validation accuracy. */
  readonly best: string;
  readonly config: string;
  readonly metrics: string;
  readonly log: string;
  readonly report: string;
}

export function runPaths(directory: string): RunPaths {
  return {
    directory,
    last: join(directory, "last.ckpt"),
    best: join(directory, "best.ckpt"),
    config: join(directory, "config.json"),
    metrics: join(directory, "metrics.jsonl"),
    log: join(directory, "train.log"),
    report: join(directory, "report.html"),
  };
}

/** How far a run has come. */
export type Moment =
  | { readonly kind: "step"; readonly step: number } // steps done since the run began
  | { readonly kind: "epoch"; readonly epoch: number }; // epochs done

/** The name that a checkpoint of this moment keeps: `step-000123.ckpt`, `epoch-003.ckpt`. */
export function momentFile(moment: Moment): string {
  switch (moment.kind) {
    case "step":
      return `step-${String(moment.step).padStart(6, "0")}.ckpt`;
    case "epoch":
      return `epoch-${String(moment.epoch).padStart(3, "0")}.ckpt`;
  }
}

/** Whether a file is a checkpoint that was kept beside last.ckpt and best.ckpt. */
export function isMomentFile(name: string): boolean {
  return /^(step-\d{6,}|epoch-\d{3,})\.ckpt$/.test(name);
}
