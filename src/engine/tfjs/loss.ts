/**
 * Cross-entropy and hits of rows of logits. They are a few thousand numbers, which the step's caller
 * wants to see anyway: computed here in float64, on every backend the same.
 */
import { types } from "node:util";

import { toFloat64 } from "../../graph/index.js";
import type { Labels } from "../types.js";

export interface CrossEntropy {
  /** Mean over the rows. */
  readonly loss: number;
  /** Of the loss, by logit: (softmax - target) / N. */
  readonly gradient: Float32Array;
}

/** logits [N,classes]. `smoothing`: the share of the target that is spread evenly over all classes. */
export function crossEntropy(
  logits: Float32Array,
  labels: Labels,
  smoothing: number,
  classes: number,
): CrossEntropy {
  const count = logits.length / classes;
  const targets = types.isInt32Array(labels) ? undefined : toFloat64(labels).data;
  const gradient = new Float32Array(logits.length);
  let loss = 0;
  for (let n = 0; n < count; n++) {
    const row = logits.subarray(n * classes, (n + 1) * classes);
    let highest = -Infinity;
    for (const value of row) if (!(value <= highest)) highest = value;
    let sum = 0;
    for (const value of row) sum += Math.exp(value - highest);
    const logSum = highest + Math.log(sum);
    // Targets need not sum to one.
    let total = 0;
    for (let c = 0; c < classes; c++) total += targetOf(n, c);
    for (let c = 0; c < classes; c++) {
      const target = targetOf(n, c);
      if (target !== 0) loss -= target * (row[c]! - logSum);
      gradient[n * classes + c] = (Math.exp(row[c]! - logSum) * total - target) / count;
    }
  }
  return { loss: loss / count, gradient };

  function targetOf(n: number, c: number): number {
    const own =
      targets === undefined ? Number((labels as Int32Array)[n] === c) : targets[n * classes + c]!;
    return (1 - smoothing) * own + smoothing / classes;
  }
}

/** Rows whose label is the highest logit / among the five highest; of equal ones the earlier class wins. */
export function countHits(
  logits: Float32Array,
  labels: Labels,
  classes: number,
): { top1: number; top5: number } {
  const count = logits.length / classes;
  const found = { top1: 0, top5: 0 };
  for (let n = 0; n < count; n++) {
    const row = logits.subarray(n * classes, (n + 1) * classes);
    const label = labelOf(labels, n, classes);
    const own = row[label]!;
    if (Number.isNaN(own)) continue;
    let above = 0;
    for (let c = 0; c < classes; c++) if (row[c]! > own || (row[c] === own && c < label)) above++;
    if (above < 1) found.top1++;
    if (above < 5) found.top5++;
  }
  return found;
}

function labelOf(labels: Labels, n: number, classes: number): number {
  if (types.isInt32Array(labels)) return labels[n]!;
  const row = toFloat64(labels).data.subarray(n * classes, (n + 1) * classes);
  return row.indexOf(row.reduce((most, value) => Math.max(most, value), -Infinity));
}
