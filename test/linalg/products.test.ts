// Sums against plain loops: by WebAssembly, and natively with each set of instructions that this CPU has.

import { describe, expect, it } from "@jest/globals";

import { linalgAddon } from "../../src/linalg/addon.js";
import { type Lines, lines, type ProductSize } from "../../src/linalg/index.js";
import { type LinalgAddon, multiplyAdd as multiplyNatively } from "../../src/linalg/native.js";
import * as portable from "../../src/linalg/portable.js";
import { describeLinalg } from "../helpers/linalg-addon.js";
import { numbers } from "../helpers/numbers.js";

interface Size {
  rows: number;
  columns: number;
  inner: number;
}

const at = ({ data, start, step }: Lines, line: number, k: number) => data[start(line) + k * step]!;

/** out + factor * a bᵀ, element by element. */
function defined(
  out: Float64Array,
  a: Lines,
  b: Lines,
  { rows, columns, inner }: Size,
  factor: (row: number) => number = () => 1,
): Float64Array {
  return out.map((before, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += at(a, row, k) * at(b, column, k);
    return row < rows ? before + factor(row) * sum : before;
  });
}

const SIZES: readonly Size[] = [
  { rows: 1, columns: 1, inner: 1 },
  { rows: 3, columns: 5, inner: 7 },
  // From here on a kernel of 4x4 tiles, in blocks of 32 rows and 256 columns.
  { rows: 4, columns: 4, inner: 8 },
  { rows: 5, columns: 6, inner: 9 },
  { rows: 32, columns: 256, inner: 8 },
  { rows: 33, columns: 257, inner: 11 },
  { rows: 67, columns: 515, inner: 40 },
  { rows: 4, columns: 7, inner: 5000 },
];

function describeProducts(multiplyAdd: typeof portable.multiplyAdd): void {
  it.each(SIZES)("$rows x $inner times $inner x $columns", (size) => {
    const { rows, columns, inner } = size;
    const a = lines(numbers("a", [rows, inner]).data, { distance: inner, step: 1 });
    const b = lines(numbers("b", [inner, columns]).data, { distance: 1, step: columns });
    const before = numbers("out", [rows, columns]).data;
    const data = before.slice();
    multiplyAdd(lines(data, { distance: columns, step: 1 }), a, b, size);
    // The same summands, of about 1, in another order: each addition rounds to 2^-53 of a sum of a few.
    expect({ shape: [rows, columns], data }).toBeCloseToTensor(
      { shape: [rows, columns], data: defined(before, a, b, size) },
      { absolute: Math.max(8, inner) * 2 ** -52 },
    );
  });

  // Rows of float32 as they lie in memory and up to four columns: a kernel of its own, in blocks of 32
  // rows, whose inner extent is rounded up to a multiple of four.
  const few = [16, 17, 18, 19, 4608].flatMap((inner) =>
    [1, 2, 3, 4].flatMap((columns) => [1, 31, 32, 70].map((rows) => ({ rows, columns, inner }))),
  );
  it.each(few)("few columns: $rows x $inner times $inner x $columns", (size) => {
    const { rows, columns, inner } = size;
    // A row more before and behind, with what must not be read.
    const weights = Float32Array.from([
      ...new Float32Array(inner).fill(Infinity),
      ...numbers("a", [rows, inner]).data,
      ...new Float32Array(inner).fill(NaN),
    ]);
    const factor = (row: number) => 1 + row / 8;
    const a = lines(weights, { offset: inner, distance: inner, step: 1 });
    const b = lines(numbers("b", [inner, columns]).data, { distance: 1, step: columns });
    const before = numbers("out", [rows, columns]).data;
    const data = before.slice();
    multiplyAdd(lines(data, { distance: columns, step: 1 }), a, b, { ...size, factor });
    expect({ shape: [rows, columns], data }).toBeCloseToTensor(
      { shape: [rows, columns], data: defined(before, a, b, size, factor) },
      { relative: 1e-13 },
    );
  });

  it.each([SIZES[1]!, SIZES[3]!, SIZES[5]!])("with a factor for each row: %j", (size) => {
    const { rows, columns, inner } = size;
    const factor = (row: number) => row - 2.5;
    const a = lines(numbers("a", [rows, inner]).data, { distance: inner, step: 1 });
    const b = lines(numbers("b", [columns, inner]).data, { distance: inner, step: 1 });
    const before = new Float64Array(rows * columns);
    const data = before.slice();
    multiplyAdd(lines(data, { distance: columns, step: 1 }), a, b, { ...size, factor });
    expect({ shape: [rows, columns], data }).toBeCloseToTensor(
      { shape: [rows, columns], data: defined(before, a, b, size, factor) },
      { relative: 1e-13 },
    );
  });

  it("lines of other arrays' inner parts, of float32, and in any order", () => {
    const size = { rows: 6, columns: 5, inner: 8 };
    const store = Float32Array.from(numbers("store", [200]).data);
    const order = [4, 0, 5, 2, 1, 3];
    // Row r starts at 10 * order[r]; columns read every second value, backwards.
    const a: Lines = { data: store, start: (line) => 10 * order[line]!, step: 1 };
    const b: Lines = { data: store, start: (line) => 199 - line * 16, step: -2 };
    const data = new Float64Array(60).fill(7);
    multiplyAdd(lines(data, { offset: 3, distance: 9, step: 1 }), a, b, size);
    for (let i = 0; i < data.length; i++) {
      const [row, column] = [Math.floor((i - 3) / 9), (i - 3) % 9];
      const isProduct = i >= 3 && row < 6 && column < 5;
      const [sum] = isProduct
        ? defined(Float64Array.of(0), shifted(a, row), shifted(b, column), {
            ...{ rows: 1, columns: 1 },
            inner: 8,
          })
        : [0];
      expect(data[i]).toBeCloseTo(7 + sum!, 13);
    }
  });

  it("a smaller product after a larger one is not disturbed by what is left of it", () => {
    const large = { rows: 40, columns: 300, inner: 64 };
    const full = lines(new Float64Array(300 * 64).fill(NaN), { distance: 64, step: 1 });
    const scratch = lines(new Float64Array(40 * 300), { distance: 300, step: 1 });
    multiplyAdd(scratch, full, full, large);
    const size = { rows: 5, columns: 5, inner: 9 };
    const a = lines(numbers("a", [5, 9]).data, { distance: 9, step: 1 });
    const data = new Float64Array(25);
    multiplyAdd(lines(data, { distance: 5, step: 1 }), a, a, size);
    expect({ shape: [5, 5], data }).toBeCloseToTensor(
      { shape: [5, 5], data: defined(new Float64Array(25), a, a, size) },
      { absolute: 1e-15 },
    );
  });
}

function describeSums(addScaled: typeof portable.addScaled): void {
  it.each([Float64Array, Float32Array])("adds %p, scaled by row or not", (Type) => {
    const data = Type.from(numbers("data", [7, 13]).data);
    const before = numbers("target", [7, 13]).data;
    const factors = numbers("factors", [7]).data;
    const target = before.slice();
    addScaled(target, data, factors);
    expect({ shape: [7, 13], data: target }).toBeCloseToTensor(
      {
        shape: [7, 13],
        data: before.map((value, i) => value + data[i]! * factors[Math.floor(i / 13)]!),
      },
      { absolute: 1e-15 },
    );
    target.set(before);
    addScaled(target, data, undefined);
    expect(target).toEqual(before.map((value, i) => value + data[i]!));
  });
}

function describeOuter(addOuter: typeof portable.addOuter): void {
  it.each([
    [Float64Array, Float32Array],
    [Float32Array, Float64Array],
  ])("adds products of weights in %p and taps in %p", (Weights, Taps) => {
    const weights = Weights.from(numbers("weights", [5, 7]).data);
    const taps = Taps.from(numbers("taps", [5, 9]).data);
    const factors = numbers("factors", [5]).data;
    const before = numbers("target", [5, 7, 9]).data;
    const target = before.slice();
    addOuter(target, weights, taps, factors);
    const expected = before.map((value, at) => {
      const [o, i, p] = [Math.floor(at / 63), Math.floor(at / 9), at % 9];
      return value + factors[o]! * weights[i]! * taps[9 * o + p]!;
    });
    expect({ shape: [5, 7, 9], data: target }).toBeCloseToTensor(
      { shape: [5, 7, 9], data: expected },
      { absolute: 2 ** -50 },
    );
  });
}

function describeRounding(roundScaled: typeof portable.roundScaled): void {
  it.each([Float64Array, Float32Array])("rounds %p scaled by row, once", (Type) => {
    const data = Type.from([...numbers("data", [7, 13]).data.slice(2), -0, NaN]);
    const factors = numbers("factors", [7]).data;
    const out = new Float32Array(91);
    roundScaled(data, factors, out);
    const products = Float64Array.from(data, (value, i) => value * factors[Math.floor(i / 13)]!);
    // A zero has no sign.
    expect(out).toEqual(Float32Array.from(products, (value) => 0 + value));
  });
}

describe("multiplyAdd in WebAssembly", () => describeProducts(portable.multiplyAdd));
describe("addScaled in JavaScript", () => describeSums(portable.addScaled));
describe("roundScaled in JavaScript", () => describeRounding(portable.roundScaled));
describe("addOuter in JavaScript", () => describeOuter(portable.addOuter));

const usable = linalgAddon()?.describe().usable ?? ["default"];
describe.each(usable)("with the instructions of %s", (instructions) => {
  describeLinalg("native", (addon) => {
    const chosen = (): LinalgAddon => {
      addon.use(instructions);
      return addon;
    };
    describeProducts((...args: [Lines<Float64Array>, Lines, Lines, ProductSize]) =>
      multiplyNatively(chosen(), ...args),
    );
    describeSums((...args) => chosen().addScaled(...args));
    describeOuter((...args) => chosen().addOuter(...args));
    describeRounding((...args) => chosen().roundScaled(...args));

    // Large enough for several threads; the last has fewer rows or more.
    it.each([
      { rows: 67, columns: 515, inner: 400 },
      { rows: 1031, columns: 9, inner: 2000 },
      { rows: 8, columns: 2000, inner: 1000 },
    ])("the same bits by any number of threads: %j", (size) => {
      const { rows, columns, inner } = size;
      const a = lines(numbers("a", [rows, inner]).data, { distance: inner, step: 1 });
      const b = lines(numbers("b", [inner, columns]).data, { distance: 1, step: columns });
      const factor = (row: number) => 1 + row / 8;
      const product = (threads: number) => {
        const data = new Float64Array(rows * columns).fill(1);
        chosen().setThreads(threads);
        const out = lines(data, { distance: columns, step: 1 });
        multiplyNatively(addon, out, a, b, { ...size, factor });
        addon.setThreads(1);
        return data;
      };
      const one = product(1);
      expect(one).not.toEqual(new Float64Array(rows * columns).fill(1));
      for (const threads of [2, 3, 64, 1000]) expect(product(threads)).toEqual(one);
    });

    it("rounds to float32 as JavaScript does", () => {
      const values = numbers("values", [1000]).data.map((value, i) => value * 2 ** (i - 500));
      const special = [NaN, Infinity, -Infinity, -0, 2 ** -149, 2 ** -150, 3.5e38, 1 + 2 ** -24];
      const all = Float64Array.from([...values, ...special]);
      const out = new Float32Array(all.length);
      chosen().round(all, out);
      expect(out).toEqual(Float32Array.from(all));
    });
  });
});

/** The lines from the given one on. */
function shifted({ data, start, step }: Lines, by: number): Lines {
  return { data, start: (line) => start(line + by), step };
}
