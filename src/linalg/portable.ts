/**
 * Sums in float64 anywhere: matrix products by WebAssembly SIMD kernels (wasm/gemm.wat, and
 * wasm/dots.wat for a few columns), about ten times a plain loop.
 */
import { types } from "node:util";

import type { Lines, ProductSize } from "./lines.js";
import { DOTS_WASM } from "./wasm/dots-wasm.js";
import { GEMM_WASM } from "./wasm/gemm-wasm.js";

/** Rows and columns of one block; a block of b with all its rows must fit the kernel's memory. */
const ROW_BLOCK = 32;
const COLUMN_BLOCK = 256;
const BYTES = 8;
const PAGE = 65536;

/** As index.ts says: out[row][column] += factor(row) * Σ_k rows[row][k] columns[column][k] */
export function multiplyAdd(
  out: Lines<Float64Array>,
  rowLines: Lines,
  columnLines: Lines,
  size: ProductSize,
): void {
  const { rows, columns, inner, factor } = size;
  if (columns <= 4 && inner >= 16 && rowLines.step === 1 && types.isFloat32Array(rowLines.data)) {
    multiplyFewColumns(out, { ...rowLines, data: rowLines.data }, columnLines, size);
    return;
  }
  if (rows < 4 || columns < 4 || inner < 8) {
    multiplyPlain(out, rowLines, columnLines, size);
    return;
  }
  const { gemm, numbers } = kernelFor(inner);
  const columnStart = ROW_BLOCK * inner;
  const productStart = columnStart + COLUMN_BLOCK * inner;
  const { data, step } = out;
  for (let column = 0; column < columns; column += COLUMN_BLOCK) {
    const width = Math.min(COLUMN_BLOCK, columns - column);
    const columnPanels = Math.ceil(width / 4);
    pack(numbers, columnStart, columnLines, column, width, inner);
    for (let row = 0; row < rows; row += ROW_BLOCK) {
      const height = Math.min(ROW_BLOCK, rows - row);
      pack(numbers, 0, rowLines, row, height, inner);
      const panels = Math.ceil(height / 4);
      gemm(0, columnStart * BYTES, productStart * BYTES, panels, columnPanels, inner);
      for (let y = 0; y < height; y++) {
        const by = factor === undefined ? 1 : factor(row + y);
        let from = productStart + y * columnPanels * 4;
        let to = out.start(row + y) + column * step;
        for (const end = from + width; from < end; from++, to += step) {
          data[to]! += by * numbers[from]!;
        }
      }
    }
  }
}

/** As index.ts says: target += data * factors, one factor for each index of the first axis. */
export function addScaled(
  target: Float64Array,
  data: Float64Array | Float32Array,
  factors: Float64Array | undefined,
): void {
  if (factors === undefined) {
    for (let i = 0; i < target.length; i++) target[i]! += data[i]!;
    return;
  }
  const row = target.length / factors.length;
  for (let o = 0, i = 0; o < factors.length; o++) {
    const factor = factors[o]!;
    for (const end = i + row; i < end; i++) target[i]! += data[i]! * factor;
  }
}

/** As index.ts says: target[o][i][p] += factors[o] * weights[o][i] * taps[o][p] */
export function addOuter(
  target: Float64Array,
  weights: Float64Array | Float32Array,
  taps: Float64Array | Float32Array,
  factors: Float64Array,
): void {
  const inputs = weights.length / factors.length;
  const perOutput = taps.length / factors.length;
  for (let o = 0, to = 0, from = 0; o < factors.length; o++) {
    const factor = factors[o]!;
    for (let i = 0; i < inputs; i++, from++) {
      const weight = weights[from]! * factor;
      for (let p = o * perOutput; p < (o + 1) * perOutput; p++) target[to++]! += weight * taps[p]!;
    }
  }
}

/** As index.ts says: out = data * factors, rounded to float32. */
export function roundScaled(
  data: Float64Array | Float32Array,
  factors: Float64Array,
  out: Float32Array<ArrayBufferLike>,
): void {
  const row = data.length / factors.length;
  for (let o = 0, i = 0; o < factors.length; o++) {
    const factor = factors[o]!;
    // As a sum of one term: of -0 it makes 0.
    for (const end = i + row; i < end; i++) out[i] = 0 + data[i]! * factor;
  }
}

/** Copies `count` lines into panels of four, interleaved. */
function pack(
  numbers: Float64Array,
  start: number,
  { data, start: startOf, step }: Lines,
  first: number,
  count: number,
  inner: number,
): void {
  for (let line = 0; line < count; line += 4) {
    let to = start + line * inner;
    const end = to + 4 * inner;
    // A line beyond the last repeats it; what comes of it is not read.
    const lane = (offset: number) => startOf(first + Math.min(line + offset, count - 1));
    let [a, b, c, d] = [lane(0), lane(1), lane(2), lane(3)];
    for (; to < end; to += 4, a += step, b += step, c += step, d += step) {
      numbers[to] = data[a]!;
      numbers[to + 1] = data[b]!;
      numbers[to + 2] = data[c]!;
      numbers[to + 3] = data[d]!;
    }
  }
}

/** For up to four columns and rows of float32 that lie in memory as they are read. */
function multiplyFewColumns(
  out: Lines<Float64Array>,
  rowLines: Lines<Float32Array>,
  columnLines: Lines,
  { rows, columns, inner, factor }: ProductSize,
): void {
  const length = Math.ceil(inner / 4) * 4;
  const { dots, bytes } = dotsFor(length);
  const weights = new Float32Array(bytes, 0, ROW_BLOCK * length);
  const values = new Float64Array(bytes, weights.byteLength, 4 * length);
  const products = new Float64Array(bytes, weights.byteLength + values.byteLength, 4 * ROW_BLOCK);
  values.fill(0);
  for (let column = 0; column < columns; column++) {
    const start = columnLines.start(column);
    for (let k = 0; k < inner; k++) {
      values[column * length + k] = columnLines.data[start + k * columnLines.step]!;
    }
  }
  // What stands behind the last number of a row is multiplied by zero, but must be a number.
  weights.fill(0);
  for (let row = 0; row < rows; row += ROW_BLOCK) {
    const height = Math.min(ROW_BLOCK, rows - row);
    for (let y = 0; y < height; y++) {
      const start = rowLines.start(row + y);
      weights.set(rowLines.data.subarray(start, start + inner), y * length);
    }
    dots(0, values.byteOffset, products.byteOffset, height, length);
    for (let y = 0; y < height; y++) {
      const by = factor === undefined ? 1 : factor(row + y);
      const to = out.start(row + y);
      for (let x = 0; x < columns; x++) out.data[to + x * out.step]! += by * products[4 * y + x]!;
    }
  }
}

function multiplyPlain(
  out: Lines<Float64Array>,
  rowLines: Lines,
  columnLines: Lines,
  { rows, columns, inner, factor }: ProductSize,
): void {
  const columnStarts = Array.from({ length: columns }, (_, column) => columnLines.start(column));
  const [left, right] = [rowLines.data, columnLines.data];
  for (let row = 0; row < rows; row++) {
    const by = factor === undefined ? 1 : factor(row);
    const rowStart = rowLines.start(row);
    let to = out.start(row);
    for (const columnStart of columnStarts) {
      let sum = 0;
      for (let k = 0, i = rowStart, j = columnStart; k < inner; k++) {
        sum += left[i]! * right[j]!;
        i += rowLines.step;
        j += columnLines.step;
      }
      out.data[to]! += by * sum;
      to += out.step;
    }
  }
}

type Gemm = (a: number, b: number, c: number, m: number, n: number, k: number) => void;
type Dots = (w: number, x: number, out: number, rows: number, k: number) => void;

interface Kernel<F> {
  readonly run: F;
  readonly memory: WebAssembly.Memory;
}

let loadedGemm: Kernel<Gemm> | undefined;
let loadedDots: Kernel<Dots> | undefined;

/** The kernel with memory for blocks of that inner extent. */
function kernelFor(inner: number): { readonly gemm: Gemm; readonly numbers: Float64Array } {
  loadedGemm ??= load<Gemm>(GEMM_WASM, "gemm");
  const { run, memory } = loadedGemm;
  grow(memory, ((ROW_BLOCK + COLUMN_BLOCK) * inner + ROW_BLOCK * COLUMN_BLOCK) * BYTES);
  return { gemm: run, numbers: new Float64Array(memory.buffer) };
}

function dotsFor(inner: number): { readonly dots: Dots; readonly bytes: ArrayBuffer } {
  loadedDots ??= load<Dots>(DOTS_WASM, "dots");
  const { run, memory } = loadedDots;
  grow(memory, ROW_BLOCK * inner * 4 + (4 * inner + 4 * ROW_BLOCK) * BYTES);
  return { dots: run, bytes: memory.buffer };
}

function grow(memory: WebAssembly.Memory, needed: number): void {
  const missing = needed - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
}

function load<F>(code: string, name: string): Kernel<F> {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const module = new WebAssembly.Module(Buffer.from(code, "base64"));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return { run: exports[name] as F, memory };
}
