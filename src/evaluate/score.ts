/** What logits are worth, as engines count it in their `evaluate`: cross-entropy and hits. */
import type { BatchResult } from "../engine/types.js";
import type { Tensor } from "../graph/index.js";

/** `logits` [N, classes] against the N classes that are right. */
export function score({ shape, data }: Tensor<Float32Array>, labels: Int32Array): BatchResult {
  const [, classes = 0] = shape;
  let [loss, top1, top5] = [0, 0, 0];
  labels.forEach((label, n) => {
    const row = data.subarray(n * classes, (n + 1) * classes);
    const own = row[label] ?? NaN;
    loss += logSumExp(row) - own;
    const above = countAbove(row, label, own);
    top1 += Number(above < 1);
    top5 += Number(above < 5);
  });
  return { loss: loss / labels.length, top1, top5 };
}

/** Guesses before that class: larger logits, and equal ones of lower classes. All, where it is NaN. */
function countAbove(row: Float32Array, label: number, own: number): number {
  if (Number.isNaN(own)) return Infinity;
  let above = 0;
  row.forEach((value, c) => {
    above += Number(value > own || (value === own && c < label));
  });
  return above;
}

/** exp(logit) over its sum, in float64. */
export function softmax(logits: Float32Array): Float64Array {
  const { powers, sum } = exponentials(logits);
  return powers.map((power) => power / sum);
}

function logSumExp(row: Float32Array): number {
  const { largest, sum } = exponentials(row);
  return largest + Math.log(sum);
}

/** Relative to the largest, so that none overflows. */
function exponentials(row: Float32Array) {
  const largest = row.reduce((most, value) => Math.max(most, value), -Infinity);
  const powers = Float64Array.from(row, (value) => Math.exp(value - largest));
  return { largest, powers, sum: powers.reduce((total, power) => total + power, 0) };
}
