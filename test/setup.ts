// What every test file gets: the matcher `toBeCloseToTensor`, and a failure for output left on the console.

import { afterAll, afterEach, expect } from "@jest/globals";

/** A tensor as the matcher sees it: any object with a shape and numbers in row-major order. */
export interface TensorLike {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number> | ArrayLike<bigint>;
}

/** Largest accepted |received - expected|; the two parts add up, and without either the match is exact. */
export interface TensorTolerance {
  readonly relative?: number; // of the largest |expected| element of the whole tensor
  readonly absolute?: number; // in the tensor's own units
}

declare module "expect" {
  interface Matchers<R> {
    /**
     * Compares shape and data with another tensor, element by element; the element types may differ.
     * NaN and the infinities match only themselves.
     */
    toBeCloseToTensor(expected: TensorLike, tolerance?: TensorTolerance): R;
  }
}

expect.extend({
  toBeCloseToTensor(received: unknown, expected: unknown, tolerance: TensorTolerance = {}) {
    const actual = checkTensor("received", received);
    const target = checkTensor("expected", expected);
    const { relative = 0, absolute = 0 } = tolerance;
    checkTolerance("relative", relative);
    checkTolerance("absolute", absolute);

    if (formatShape(actual.shape) !== formatShape(target.shape)) {
      return {
        pass: false,
        message: () =>
          `shape ${formatShape(actual.shape)} differs from the expected ${formatShape(target.shape)}`,
      };
    }

    const limit = relative * largestMagnitude(target.data) + absolute;
    const { difference, index } = largestDifference(actual.data, target.data);
    const pass = difference <= limit;
    const describe = () =>
      [
        `largest difference ${difference} at ${formatIndex(index, target.shape)}:` +
          ` received ${actual.data[index]}, expected ${target.data[index]}`,
        `tolerance ${limit} (relative ${relative}, absolute ${absolute}),` +
          ` ${formatShare(difference, limit)} of it used`,
      ].join("\n");
    return {
      pass,
      message: () =>
        target.data.length === 0
          ? "both tensors are empty, hence equal"
          : `tensors are ${pass ? "" : "not "}close: ${describe()}`,
    };
  },
});

interface NumberTensor {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/** Throws on anything but a well-formed tensor, so that `.not.toBeCloseToTensor` cannot pass by accident. */
function checkTensor(name: string, value: unknown): NumberTensor {
  const { shape, data } = (value ?? {}) as { shape?: unknown; data?: unknown };
  // Typed arrays may come from another realm, where instanceof says no.
  if (!Array.isArray(shape) || !ArrayBuffer.isView(data) || !("length" in data)) {
    throw new TypeError(
      `Expected a tensor { shape: number[], data: typed array } for ${name} but received ${describeValue(value)}`,
    );
  }
  const sizes = shape as number[];
  const count = sizes.reduce((product, size) => product * size, 1);
  if (count !== data.length) {
    throw new TypeError(
      `${name}: shape ${formatShape(sizes)} asks for ${count} elements, data has ${String(data.length)}`,
    );
  }
  return { shape: sizes, data: Array.from(data as unknown as ArrayLike<number | bigint>, Number) };
}

function checkTolerance(name: string, value: number): void {
  if (!(value >= 0 && value < Infinity)) {
    throw new RangeError(`Expected a finite number >= 0 for ${name} but received ${value}`);
  }
}

function describeValue(value: unknown): string {
  return value === null ? "null" : typeof value === "object" ? "another object" : typeof value;
}

/** Largest finite |element|; 0 for a tensor without one. */
function largestMagnitude(data: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < data.length; i++) {
    const magnitude = Math.abs(data[i]!);
    if (magnitude < Infinity && magnitude > largest) largest = magnitude;
  }
  return largest;
}

function largestDifference(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
): { difference: number; index: number } {
  let difference = 0;
  let index = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i]!;
    const e = expected[i]!;
    if (a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    const d = Number.isFinite(a) && Number.isFinite(e) ? Math.abs(a - e) : Infinity;
    if (d > difference) {
      difference = d;
      index = i;
    }
  }
  return { difference, index };
}

function formatShape(shape: readonly number[]): string {
  return `[${shape.join(",")}]`;
}

/** Flat index and, for what has more than one axis, its coordinates: `7 = [1,3]`. */
function formatIndex(flat: number, shape: readonly number[]): string {
  if (shape.length < 2) return `index ${flat}`;
  const coordinates: number[] = [];
  let rest = flat;
  for (const size of [...shape].reverse()) {
    coordinates.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return `index ${flat} = ${formatShape(coordinates)}`;
}

function formatShare(difference: number, limit: number): string {
  if (limit === 0) return difference === 0 ? "0%" : "more than all";
  return `${((100 * difference) / limit).toPrecision(3)}%`;
}

// The library writes nothing to the console: stdout belongs to results, and logs go through the logger.
const consoleMethods = ["debug", "dir", "error", "info", "log", "table", "trace", "warn"] as const;
const consoleCalls: string[] = [];
for (const method of consoleMethods) {
  console[method] = (...values: unknown[]) => {
    consoleCalls.push(`console.${method}(${values.map(String).join(", ")})`);
  };
}

/** Returns the console calls since the last look and forgets them; for tests that expect some. */
export function takeConsoleCalls(): string[] {
  return consoleCalls.splice(0);
}

function failOnConsoleCalls(): void {
  const calls = takeConsoleCalls();
  if (calls.length > 0) throw new Error(`Stray output on the console:\n${calls.join("\n")}`);
}

afterEach(failOnConsoleCalls);
afterAll(failOnConsoleCalls);
