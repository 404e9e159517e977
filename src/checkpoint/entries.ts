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
}

/** A weights file under way: it takes its tensors in any order, each once, and then its place. */
export interface TensorWriter {
  write(name: string, tensor: Tensor): void;
  /** Puts the file in its place. All tensors have been written. */
  commit(): void;
  /** Leaves no trace, unless the file is in its place. */
  discard(): void;
}

/** Writes the entries in order. Where one cannot be had, no file is left. */
export function writeEntries(writer: TensorWriter, entries: readonly TensorEntry[]): void {
  try {
    for (const { name, tensor } of entries) {
      writer.write(name, typeof tensor === "function" ? tensor() : tensor);
    }
    writer.commit();
  } finally {
    writer.discard();
  }
}

/** What a writer is to be given. */
export class EntryPlan {
  readonly entries: readonly PlannedEntry[];
  readonly #waiting = new Map<string, number>();

  /** @throws RepkitError "internal" where two entries have one name */
  constructor(entries: Iterable<TensorEntry>) {
    this.entries = Array.from(entries, plan);
    for (const [index, { name }] of this.entries.entries()) {
      if (this.#waiting.has(name)) {
        throw new RepkitError("internal", `tensor ${name} is to be written twice`);
      }
      this.#waiting.set(name, index);
    }
  }

  /** Hands the bytes of an entry, and its position, to what writes them. */
  write(name: string, tensor: Tensor, to: (bytes: Uint8Array, index: number) => void): void {
    const index = this.#waiting.get(name);
    if (index === undefined) {
      throw new RepkitError("internal", `tensor ${name} is not to be written, or was already`);
    }
    const { dtype, shape, byteLength } = this.entries[index]!;
    const bytes = encodeElements(dtype, tensor);
    if (!sameShape(tensor.shape, shape) || bytes.byteLength !== byteLength) {
      throw new RepkitError(
        "internal",
        `tensor ${name}: shape ${formatShape(shape)} was announced, received ` +
          `${formatShape(tensor.shape)} with ${tensor.data.length} elements`,
      );
    }
    to(bytes, index);
    this.#waiting.delete(name);
  }

  requireAllWritten(): void {
    const [missing] = this.#waiting.keys();
    if (missing === undefined) return;
    throw new RepkitError("internal", `tensor ${missing} was never written`);
  }
}

function plan(entry: TensorEntry): PlannedEntry {
  const { name } = entry;
  const { dtype, shape } =
    typeof entry.tensor === "function"
      ? (entry as LazyEntry)
      : { dtype: entry.dtype ?? dtypeOf(entry.tensor.data), shape: entry.tensor.shape };
  return { name, dtype, shape, byteLength: elementCount(shape) * DTYPE_BYTES[dtype] };
}
