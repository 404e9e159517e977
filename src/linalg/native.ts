/** The native sums (native/linalg/addon.cc), as this package calls them. */
import type { Lines, ProductSize } from "./lines.js";

/** Lines are given by their starts. Each call throws RangeError rather than leave an array. */
export interface LinalgAddon {
  multiplyAdd(
    out: Float64Array,
    outStarts: Float64Array,
    outStep: number,
    rows: Float64Array | Float32Array,
    rowStarts: Float64Array,
    rowStep: number,
    columns: Float64Array | Float32Array,
    columnStarts: Float64Array,
    columnStep: number,
    inner: number,
    factors: Float64Array | undefined,
  ): void;

  addScaled(
    target: Float64Array,
    data: Float64Array | Float32Array,
    factors: Float64Array | undefined,
  ): void;

  addOuter(
    target: Float64Array,
    weights: Float64Array | Float32Array,
    taps: Float64Array | Float32Array,
    factors: Float64Array,
  ): void;

  roundScaled(
    data: Float64Array | Float32Array,
    factors: Float64Array,
    out: Float32Array<ArrayBufferLike>,
  ): void;

  round(numbers: Float64Array, out: Float32Array): void;

  /** Takes those of `usable` from now on, in this thread: for comparisons. */
  use(instructions: string): void;

  /** How many threads share a large product; 1 at first. The sums are the same for any number. */
  setThreads(count: number): void;

  /** What it runs, and what it could run on this CPU: `avx512`, `avx2`, `default`. */
  describe(): { readonly instructions: string; readonly usable: readonly string[] };
}

/** As index.ts says. */
export function multiplyAdd(
  addon: LinalgAddon,
  out: Lines<Float64Array>,
  rowLines: Lines,
  columnLines: Lines,
  { rows, columns, inner, factor }: ProductSize,
): void {
  addon.multiplyAdd(
    ...([out.data, starts(out, rows), out.step] as const),
    ...([rowLines.data, starts(rowLines, rows), rowLines.step] as const),
    ...([columnLines.data, starts(columnLines, columns), columnLines.step] as const),
    inner,
    factor && Float64Array.from({ length: rows }, (_, row) => factor(row)),
  );
}

function starts({ start }: Lines, count: number): Float64Array {
  const result = new Float64Array(count);
  for (let line = 0; line < count; line++) result[line] = start(line);
  return result;
}
