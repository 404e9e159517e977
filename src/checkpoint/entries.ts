/** What the writers of both containers are given: named tensors, ready or made when their turn comes. */
import { RepkitError } from "../errors.js";
import { elementCount, formatShape, sameShape, type Tensor } from "../graph/tensor.js";
import { DTYPE_BYTES, dtypeOf, encodeElements, type WritableDType } from "./dtypes.js";

/** A tensor that is in memory anyway. */
export interface ReadyEntry {
  readonly name: string;
  readonly tensor: Tensor;
  /** Default: the type of the data (float64 → F64, float32 → F32, int64 → I64). */
  readonly dtype?: WritableDType | undefined;
}

/** A tensor that is made when it is written, so that only one at a time need be in memory. */
export interface LazyEntry {
  readonly name: string;
  readonly tensor: () => Tensor;
  readonly shape: readonly number[];
  readonly dtype: WritableDType;
}

export type TensorEntry = ReadyEntry | LazyEntry;

/** An entry whose place in the file is known before its values are. */
export interface PlannedEntry {
  readonly name: string;
  readonly dtype: WritableDType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** The bytes to write. */
  encode(): Uint8Array;
}

/** @throws RepkitError "internal" where two entries have one name */
export function planEntries(entries: Iterable<TensorEntry>): PlannedEntry[] {
  const names = new Set<string>();
  return Array.from(entries, (entry) => {
    if (names.has(entry.name)) {
      throw new RepkitError("internal", `tensor ${entry.name} is to be written twice`);
    }
    names.add(entry.name);
    return plan(entry);
  });
}

function plan(entry: TensorEntry): PlannedEntry {
  const { name } = entry;
  const lazy = typeof entry.tensor === "function";
  const { dtype, shape } = lazy
    ? (entry as LazyEntry)
    : { dtype: entry.dtype ?? dtypeOf(entry.tensor.data), shape: entry.tensor.shape };
  const byteLength = elementCount(shape) * DTYPE_BYTES[dtype];
  return {
    name,
    dtype,
    shape,
    byteLength,
    encode() {
      const tensor = typeof entry.tensor === "function" ? entry.tensor() : entry.tensor;
      const bytes = encodeElements(dtype, tensor);
      if (!sameShape(tensor.shape, shape) || bytes.byteLength !== byteLength) {
        throw new RepkitError(
          "internal",
          `tensor ${name}: shape ${formatShape(shape)} was announced, received ` +
            `${formatShape(tensor.shape)} with ${tensor.data.length} elements`,
        );
      }
      return bytes;
    },
  };
}
