/**
 * Matrix products in float64, by a WebAssembly SIMD kernel (wasm/gemm.wat): about ten times a plain
 * loop, which is what makes exact folding of large models and their float64 check affordable.
 */
import { GEMM_WASM } from "./wasm/gemm-wasm.js";

/** Rows (or columns) inside an array: element k of line n is `data[start(n) + k*step]`. */
export interface Lines<D extends Float64Array | Float32Array = Float64Array | Float32Array> {
  readonly data: D;
  readonly start: (line: number) => number;
  readonly step: number;
}

/** Lines at equal distances. */
export function lines<D extends Float64Array | Float32Array>(
  data: D,
  { offset = 0, distance, step }: { offset?: number; distance: number; step: number },
): Lines<D> {
  return { data, start: (line) => offset + line * distance, step };
}

/** Rows and columns of one block; a block of b with all its rows must fit the kernel's memory. */
const ROW_BLOCK = 32;
const COLUMN_BLOCK = 256;
const BYTES = 8;
const PAGE = 65536;

export interface ProductSize {
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
  /** A factor for each row of the product. Default: 1. */
  readonly factor?: ((row: number) => number) | undefined;
}

/** out[row][column] += factor(row) * Σ_k rows[row][k] columns[column][k]; sums run over k in order. */
export function multiplyAdd(
  out: Lines<Float64Array>,
  rowLines: Lines,
  columnLines: Lines,
  size: ProductSize,
): void {
  const { rows, columns, inner, factor } = size;
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

/**
 * Runs products on nothing for a few milliseconds: WebAssembly and the loops around it start in
 * code that is quick to compile, and are compiled well only after some use.
 */
export function warmUp(): void {
  const size = { rows: 64, columns: 64, inner: 64 };
  const [data, weights] = [new Float64Array(64 * 64), new Float32Array(64 * 64)];
  for (let round = 0; round < 60; round++) {
    multiplyAdd(
      lines(data, { distance: 64, step: 1 }),
      lines(weights, { distance: 64, step: 1 }),
      lines(weights, { distance: 1, step: 64 }),
      size,
    );
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

interface Kernel {
  readonly gemm: Gemm;
  readonly numbers: Float64Array;
}

let loaded: { readonly gemm: Gemm; readonly memory: WebAssembly.Memory } | undefined;

/** The kernel with memory for blocks of that inner extent. */
function kernelFor(inner: number): Kernel {
  loaded ??= load();
  const { gemm, memory } = loaded;
  const needed = ((ROW_BLOCK + COLUMN_BLOCK) * inner + ROW_BLOCK * COLUMN_BLOCK) * BYTES;
  const missing = needed - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
  return { gemm, numbers: new Float64Array(memory.buffer) };
}

function load() {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const module = new WebAssembly.Module(Buffer.from(GEMM_WASM, "base64"));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return { gemm: exports["gemm"] as Gemm, memory };
}
