/**
 * Writing state dicts that PyTorch opens: `torch.load(path, weights_only=True)`, from 1.13 on.
 *
 * The archive holds what `torch.save(OrderedDict)` would: a pickle of protocol 2, made of only those
 * opcodes and globals that PyTorch's own restricted reader knows, and one storage per tensor.
 * Reference: torch/_weights_only_unpickler.py of PyTorch.
 */
import { elementCount, type Tensor } from "../graph/tensor.js";
import { stageFile, type StagedFile } from "../util/atomic-write.js";
import type { WritableDType } from "./dtypes.js";
import {
  EntryPlan,
  type PlannedEntry,
  type TensorEntry,
  type TensorWriter,
  writeEntries,
} from "./entries.js";
import { ZipWriter } from "./zip-write.js";

const ARCHIVE = "archive";
const BATCH = 1000; // entries per SETITEMS, as in Python's pickle module

const STORAGE_CLASSES: Readonly<Record<WritableDType, string>> = {
  F64: "DoubleStorage",
  F32: "FloatStorage",
  I64: "LongStorage",
};

/** Puts the state dict under `key` of a dict that has other values too, written before it. */
export interface Wrapping {
  readonly key: string;
  /** Text and whole numbers from 0: PyTorch 1.13 reads no others with `weights_only`. */
  readonly beside: ReadonlyMap<string, string | number>;
}

/**
 * Writes the tensors as one OrderedDict, in the order given, atomically. They are contiguous, on the
 * CPU, and do not require gradients.
 * @throws RepkitError "file" where the system refuses; "internal" for names used twice
 */
export function writePyTorch(
  path: string,
  entries: Iterable<TensorEntry>,
  wrapping?: Wrapping,
): void {
  const all = [...entries];
  writeEntries(new PyTorchWriter(path, all, wrapping), all);
}

/** The same under way. Storages lie in the file in the order in which they are written. */
export class PyTorchWriter implements TensorWriter {
  readonly #plan: EntryPlan;
  readonly #file: StagedFile;
  readonly #archive: ZipWriter;

  constructor(path: string, entries: Iterable<TensorEntry>, wrapping?: Wrapping) {
    this.#plan = new EntryPlan(entries);
    const pickle = pickleStateDict(this.#plan.entries, wrapping);
    this.#file = stageFile(path);
    this.#archive = new ZipWriter(this.#file);
    try {
      this.#archive.add(`${ARCHIVE}/data.pkl`, pickle);
      this.#archive.add(`${ARCHIVE}/byteorder`, Buffer.from("little"));
    } catch (error) {
      this.#file.discard();
      throw error;
    }
  }

  write(name: string, tensor: Tensor): void {
    this.#plan.write(name, tensor, (bytes, index) => {
      this.#archive.add(`${ARCHIVE}/data/${index}`, bytes);
    });
  }

  commit(): void {
    this.#plan.requireAllWritten();
    this.#archive.add(`${ARCHIVE}/version`, Buffer.from("3\n"));
    this.#archive.finish();
    this.#file.commit();
  }

  discard(): void {
    this.#file.discard();
  }
}

/** The pickle of an OrderedDict of tensors; entry i refers to the storage with key `i`. */
function pickleStateDict(entries: readonly PlannedEntry[], wrapping?: Wrapping): Buffer {
  const parts: Buffer[] = [Buffer.from([0x80, 2])];
  const memo = new Map<string, number>();
  const op = (text: string): void => void parts.push(Buffer.from(text, "latin1"));

  /** What is written in full at first and recalled from the memo later. */
  const memoized = (key: string, write: () => void): void => {
    const index = memo.get(key);
    if (index !== undefined) {
      parts.push(Buffer.from([0x68, index])); // BINGET
      return;
    }
    write();
    parts.push(Buffer.from([0x71, memo.size])); // BINPUT
    memo.set(key, memo.size);
  };
  const global = (module: string, name: string): void => {
    memoized(`${module} ${name}`, () => op(`c${module}\n${name}\n`));
  };
  const word = (text: string): void => memoized(text, () => parts.push(pickleString(text)));
  const tuple = (values: readonly number[]): void => {
    op("(");
    for (const value of values) parts.push(pickleNatural(value));
    op("t");
  };
  const tensor = (key: number, { dtype, shape }: PlannedEntry): void => {
    global("torch._utils", "_rebuild_tensor_v2");
    op("((");
    word("storage");
    global("torch", STORAGE_CLASSES[dtype]);
    parts.push(pickleString(String(key)));
    word("cpu");
    parts.push(pickleNatural(elementCount(shape)));
    op("tQ"); // the persistent id of its storage
    parts.push(pickleNatural(0)); // offset
    tuple(shape);
    tuple(rowMajorStrides(shape));
    op("\x89"); // requires no gradient
    global("collections", "OrderedDict"); // no backward hooks
    op(")RtR");
  };

  if (wrapping !== undefined) {
    op("}(");
    for (const [key, value] of wrapping.beside) {
      const scalar = typeof value === "string" ? pickleString(value) : pickleNatural(value);
      parts.push(pickleString(key), scalar);
    }
    parts.push(pickleString(wrapping.key));
  }
  global("collections", "OrderedDict");
  op(")R");
  for (let start = 0; start < entries.length; start += BATCH) {
    op("(");
    for (const [i, entry] of entries.slice(start, start + BATCH).entries()) {
      parts.push(pickleString(entry.name));
      tensor(start + i, entry);
    }
    op("u");
  }
  op(wrapping === undefined ? "." : "u.");
  return Buffer.concat(parts);
}

function pickleString(text: string): Buffer {
  const content = Buffer.from(text);
  const head = Buffer.alloc(5, "X");
  head.writeUInt32LE(content.length, 1);
  return Buffer.concat([head, content]);
}

/** BININT1, BININT2, BININT, or LONG1 beyond 2^31. */
function pickleNatural(value: number): Buffer {
  if (value < 1 << 8) return Buffer.from([0x4b, value]);
  const bytes = Buffer.alloc(10);
  bytes.writeBigUInt64LE(BigInt(value), 2);
  if (value < 1 << 16) return Buffer.from([0x4d, ...bytes.subarray(2, 4)]);
  if (value < 2 ** 31) return Buffer.from([0x4a, ...bytes.subarray(2, 6)]);
  bytes.set([0x8a, 8]);
  return bytes;
}

function rowMajorStrides(shape: readonly number[]): number[] {
  // An axis of extent 0 counts as 1, as in PyTorch.
  return shape.map((_, axis) => elementCount(shape.slice(axis + 1).map((n) => Math.max(n, 1))));
}
