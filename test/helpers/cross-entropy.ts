// What a classifier's loss and counts are, from its logits, by their definitions in float64.

import { types } from "node:util";

import type { Labels } from "../../src/engine/types.js";
import { type Tensor, toFloat64 } from "../../src/graph/index.js";

/** Mean over the batch of -sum(target * log softmax(logits)); `smoothing` of the target goes to all classes alike. */
export function crossEntropy(logits: Tensor, labels: Labels, smoothing = 0): number {
  const [batch = 0, classes = 0] = logits.shape;
  let total = 0;
  for (let n = 0; n < batch; n++) {
    const row = rowOf(logits, n);
    const largest = Math.max(...row);
    const normaliser = largest + Math.log(sum(row.map((value) => Math.exp(value - largest))));
    const targets = targetsOf(labels, n, classes);
    const smooth = targets.map((target) => (1 - smoothing) * target + smoothing / classes);
    total += sum(smooth.map((target, c) => target * (normaliser - row[c]!)));
  }
  return total / batch;
}

/** How many images have fewer than `k` logits above that of their label. */
export function hits(logits: Tensor, labels: Int32Array, k: number): number {
  return Array.from(labels).filter((label, n) => {
    const row = rowOf(logits, n);
    return row.filter((value) => value > row[label]!).length < k;
  }).length;
}

function rowOf(logits: Tensor, n: number): number[] {
  const [, classes = 0] = logits.shape;
  return Array.from(toFloat64(logits).data.subarray(n * classes, (n + 1) * classes));
}

function targetsOf(labels: Labels, n: number, classes: number): number[] {
  if (!types.isInt32Array(labels)) return rowOf(labels, n);
  return Array.from({ length: classes }, (_, c) => (c === labels[n] ? 1 : 0));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
