/** How the operands of a matrix product lie in memory. */

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

export interface ProductSize {
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
  /** A factor for each row of the product. Default: 1. */
  readonly factor?: ((row: number) => number) | undefined;
}
