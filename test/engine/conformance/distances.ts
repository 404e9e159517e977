// How far two tensors are apart, where the largest element is not the measure.

import { expect } from "@jest/globals";

import { type Tensor, toFloat64 } from "../../../src/graph/index.js";

const { abs, sqrt } = Math;

/** Root of the sum of squares. */
export function norm(tensor: Tensor): number {
  const { data } = toFloat64(tensor);
  let squares = 0;
  for (let i = 0; i < data.length; i++) squares += data[i]! * data[i]!;
  return sqrt(squares);
}

/** The same of each sample of a batch. */
export function sampleNorms(tensor: Tensor): number[] {
  const [batch = 0, ...rest] = tensor.shape;
  const { data } = toFloat64(tensor);
  const length = data.length / batch;
  return Array.from({ length: batch }, (_, n) =>
    norm({ shape: rest, data: data.subarray(n * length, (n + 1) * length) }),
  );
}

/** Norm of a - b. */
export function distance(a: Tensor, b: Tensor): number {
  return norm(difference(a, b));
}

/** The largest magnitude of an element of a - b. */
export function largestDifference(a: Tensor, b: Tensor): number {
  return largest(difference(a, b));
}

function difference(a: Tensor, b: Tensor): Tensor {
  const [left, right] = [toFloat64(a).data, toFloat64(b).data];
  expect(left).toHaveLength(right.length);
  return { shape: b.shape, data: right.map((value, i) => left[i]! - value) };
}

/** The largest magnitude of an element. */
export function largest(tensor: Tensor): number {
  return toFloat64(tensor).data.reduce((most, value) => (abs(value) > most ? abs(value) : most), 0);
}

/** A list of what is wrong: `what`, the difference, and how much of it is allowed. Empty if all is well. */
export class Report {
  readonly #lines: string[] = [];

  /** A NaN is never within any limit. */
  within(what: string, difference: number, limit: number): void {
    if (abs(difference) <= limit) return;
    const share = (abs(difference) / limit).toPrecision(3);
    this.#lines.push(`${what}: off by ${abs(difference)}, ${share} times the limit of ${limit}`);
  }

  get isEmpty(): boolean {
    return this.#lines.length === 0;
  }

  expectNothing(): void {
    expect(this.#lines).toEqual([]);
  }
}
