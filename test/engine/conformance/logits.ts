// Logits against what the reference recorded of them.

import { expect } from "@jest/globals";

import type { Precision } from "../../../src/engine/types.js";
import { type Graph, type Tensor, toFloat64 } from "../../../src/graph/index.js";
import type { LogitsReference } from "../../helpers/fixtures.js";
import type { Report } from "./distances.js";
import { ROUNDOFF } from "./subject.js";

const { abs, max, sqrt } = Math;

/** The issue's own bound in fp64: both sides differ in the order of their sums alone. */
export const EXACT = 1e-10;

/** Of the recorded logits, by which all that is said of logits is measured. */
export function scaleOf({ logits_head_f64 }: LogitsReference): number {
  return max(...logits_head_f64.flat().map(abs));
}

/** The largest error of the reference's own float32 logits. */
export function recordedError({ logits_head, logits_head_f64 }: LogitsReference): number {
  const exact = logits_head_f64.flat();
  return max(...logits_head.flat().map((value, i) => abs(value - exact[i]!)));
}

/** The last layer alone sums over so many products; n of them round by sqrt(n) roundoffs of the sum. */
export function lastLayerRounding(graph: Graph): number {
  const linear = graph.nodes.findLast(({ op }) => op.kind === "linear");
  const [, features = 1] = graph.nodes[linear?.inputs[1] ?? -1]?.type.shape ?? [];
  return sqrt(features);
}

/**
 * What bf16 makes of a network in evaluation, relative to the norm of its logits. Along the longest
 * path each layer rounds its input, its kernel, its sum and what it is normalised to: four roundings,
 * of 2^-9 root mean square, which add up as their squares do. Twice that, for layers that amplify
 * what they are given. ResNet-18: 2 sqrt(4 * 18) 2^-9 = 3.3 %.
 */
export function bf16Error(graph: Graph): number {
  return (2 * sqrt(4 * longestPath(graph)) * ROUNDOFF.bf16) / 2;
}

/** tf32 rounds the two factors of each product, and nothing else. */
export function tf32Error(graph: Graph): number {
  return (2 * sqrt(2 * longestPath(graph)) * ROUNDOFF.tf32) / 2;
}

/** Convolutions and linear layers that follow each other. */
function longestPath({ nodes }: Graph): number {
  const lengths: number[] = [];
  for (const { op, inputs } of nodes) {
    const before = max(0, ...inputs.map((input) => lengths[input]!));
    lengths.push(before + (op.kind === "conv2d" || op.kind === "linear" ? 1 : 0));
  }
  return max(...lengths);
}

/** How far the logits of an evaluation may be from the float64 ones, each of them. */
export function logitsLimit(precision: Precision, graph: Graph, expected: LogitsReference): number {
  const scale = scaleOf(expected);
  switch (precision) {
    case "fp64":
      return EXACT * scale;
    case "fp32":
      return 2 * recordedError(expected) + lastLayerRounding(graph) * ROUNDOFF.fp32 * scale;
    case "tf32":
      return tf32Error(graph) * scale;
    case "bf16":
      return bf16Error(graph) * scale;
  }
}

/** The recorded first logits of each sample, one by one. */
export function compareHead(
  report: Report,
  logits: Tensor,
  { logits_head_f64 }: LogitsReference,
  limit: number,
): void {
  const [batch = 0, classes = 0] = logits.shape;
  expect([batch, classes]).toEqual([logits_head_f64.length, 1000]);
  const { data } = toFloat64(logits);
  for (const [n, row] of logits_head_f64.entries()) {
    for (const [c, value] of row.entries()) {
      report.within(`logit ${c} of image ${n}`, data[n * classes + c]! - value, limit);
    }
  }
}

/** The recorded class has the highest logit, or one that rounding cannot tell from it. */
export function compareArgmax(
  report: Report,
  logits: Tensor,
  argmax: readonly number[],
  limit: number,
): void {
  const [, classes = 0] = logits.shape;
  const { data } = toFloat64(logits);
  for (const [n, expected] of argmax.entries()) {
    const row = data.subarray(n * classes, (n + 1) * classes);
    const gap = row.reduce((most, value) => max(most, value), -Infinity) - row[expected]!;
    report.within(`highest logit of image ${n} above that of class ${expected}`, gap, 2 * limit);
  }
}
