// Training runs as data that can be compared: what they measured and saved, to the last bit.

import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { openTensorFile } from "../../src/checkpoint/index.js";
import { readMetrics } from "../../src/train/run/index.js";

export interface SavedRun {
  /** Epochs and steps done, and the sums of the epoch in hand. */
  progress: unknown;
  /** Hashes of all tensors, in the file's order: weights, velocities, averages. */
  tensors: [name: string, hash: string][];
}

/** All but times and paths of a checkpoint; fails where it is not whole. */
export function savedRun(path: string): SavedRun {
  const file = openTensorFile(path);
  try {
    const { epoch, step, best_acc1, run } = Object.fromEntries(file.metadata);
    const { seconds: _seconds, ...rest } = JSON.parse(run ?? "{}") as Record<string, unknown>;
    const tensors = Array.from(file.tensors.keys(), (name): [string, string] => {
      const { buffer, byteOffset, byteLength } = file.get(name)!.data;
      const bytes = new Uint8Array(buffer, byteOffset, byteLength);
      return [name, createHash("sha1").update(bytes).digest("hex")];
    });
    return { progress: { epoch, step, best_acc1, ...rest }, tensors };
  } finally {
    file.close();
  }
}

/** What a run directory holds, times and paths aside. */
export function runIn(directory: string) {
  return {
    metrics: readMetrics(join(directory, "metrics.jsonl")).map((line) =>
      Object.fromEntries(Object.entries(line).filter(([key]) => !/second/.test(key))),
    ),
    last: savedRun(join(directory, "last.ckpt")),
    best: existsSync(join(directory, "best.ckpt"))
      ? savedRun(join(directory, "best.ckpt"))
      : undefined,
  };
}

/** The checkpoints of a run directory. */
export function checkpointsIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => name.endsWith(".ckpt"))
    .sort();
}
