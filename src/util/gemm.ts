/**
 * Matrix products in float64, by a WebAssembly SIMD kernel (wasm/gemm.wat): about ten times a plain
 * loop, which is what makes exact folding of large models and their float64 check affordable.
 */
import { GEMM_WASM } from "./wasm/gemm-wasm.js";

/** A matrix inside an array: element (row, column) is `data[offset + row*rowStride + column*columnStride]`. */
export interface MatrixView<D extends Float64Array | Float32Array = Float64Array | Float32Array> {
  readonly data: D;
  readonly offset: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

/** Rows and columns of one block; a block of b with all its rows must fit the kernel's memory. */
const ROW_BLOCK = 32;
const COLUMN_BLOCK = 256;
const BYTES = 8;
const PAGE = 65536;

/** out[rows, columns] += a[rows, inner] b[inner, columns]. Sums run over `inner` in order. */
export function multiplyAdd(
  out: MatrixView<Float64Array>,
  a: MatrixView,
  b: MatrixView,
  { rows, columns, inner }: { rows: number; columns: number; inner: number },
): void {
  if (rows < 4 || columns < 4 || inner < 8) {
    multiplyPlain(out, a, b, rows, columns, inner);
    return;
  }
  const { gemm, numbers } = kernelFor(inner);
  const aStart = 0;
  const bStart = ROW_BLOCK * inner;
  const cStart = bStart + COLUMN_BLOCK * inner;
  for (let column = 0; column < columns; column += COLUMN_BLOCK) {
    const width = Math.min(COLUMN_BLOCK, columns - column);
    const columnPanels = Math.ceil(width / 4);
    packPanels(numbers, bStart, width, inner, {
      data: b.data,
      start: b.offset + column * b.columnStride,
      across: b.columnStride,
      along: b.rowStride,
    });
    for (let row = 0; row < rows; row += ROW_BLOCK) {
      const height = Math.min(ROW_BLOCK, rows - row);
      const rowPanels = Math.ceil(height / 4);
      packPanels(numbers, aStart, height, inner, {
        data: a.data,
        start: a.offset + row * a.rowStride,
        across: a.rowStride,
        along: a.columnStride,
      });
      gemm(aStart * BYTES, bStart * BYTES, cStart * BYTES, rowPanels, columnPanels, inner);
      for (let y = 0; y < height; y++) {
        let from = cStart + y * columnPanels * 4;
        let to = out.offset + (row + y) * out.rowStride + column * out.columnStride;
        for (let x = 0; x < width; x++, to += out.columnStride) out.data[to]! += numbers[from++]!;
      }
    }
  }
}

/** Copies `extent` lines into panels of four, line by line interleaved, zeros after the last. */
function packPanels(
  numbers: Float64Array,
  start: number,
  extent: number,
  inner: number,
  from: { data: Float64Array | Float32Array; start: number; across: number; along: number },
): void {
  const { data, across, along } = from;
  for (let line = 0; line < extent; line += 4) {
    const panel = start + line * inner;
    for (let lane = 0; lane < 4; lane++) {
      let to = panel + lane;
      if (line + lane >= extent) {
        for (let k = 0; k < inner; k++, to += 4) numbers[to] = 0;
        continue;
      }
      let at = from.start + (line + lane) * across;
      for (let k = 0; k < inner; k++, to += 4, at += along) numbers[to] = data[at]!;
    }
  }
}

function multiplyPlain(
  out: MatrixView<Float64Array>,
  a: MatrixView,
  b: MatrixView,
  rows: number,
  columns: number,
  inner: number,
): void {
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let inA = a.offset + row * a.rowStride;
      let inB = b.offset + column * b.columnStride;
      let sum = 0;
      for (let k = 0; k < inner; k++, inA += a.columnStride, inB += b.rowStride) {
        sum += a.data[inA]! * b.data[inB]!;
      }
      out.data[out.offset + row * out.rowStride + column * out.columnStride]! += sum;
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
