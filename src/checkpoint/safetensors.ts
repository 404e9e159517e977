/**
 * The safetensors container: 8 bytes with the length of the header, a JSON header, raw data.
 *
 * Reading makes every check of the reference reader (header size, contiguous offsets, sizes that
 * agree with shapes, no trailing bytes) before a tensor is handed out; writing puts each tensor where
 * the header says, in any order.
 * Format: https://github.com/huggingface/safetensors#format
 */
import { isUtf8 } from "node:buffer";

import { RepkitError } from "../errors.js";
import { formatShape, type Tensor } from "../graph/tensor.js";
import { stageFile, type StagedFile } from "../util/atomic-write.js";
import { ByteFile } from "./byte-file.js";
import type { StoredDType, TensorFile, TensorInfo } from "./container.js";
import { allocateElements, decodeElements, DTYPE_BYTES, isStoredDType } from "./dtypes.js";
import {
  EntryPlan,
  type PlannedEntry,
  type TensorEntry,
  type TensorWriter,
  writeEntries,
} from "./entries.js";
import { readFailure } from "./failure.js";
import { HeaderError, parseHeader, type Header, type HeaderEntry } from "./safetensors-header.js";
import { commonPrefix } from "./state-dict.js";

const LENGTH_BYTES = 8;
const MAX_HEADER = 100_000_000; // bytes, the limit of the reference reader
const ALIGNMENT = 8; // bytes; where the data begins
const MAX_RANK = 64; // as in PyTorch

/** Types of the format that nothing here can hold. */
const UNSUPPORTED_DTYPES = new Set(
  "U16 U32 U64 F8_E4M3 F8_E5M2 F8_E8M0 F6_E2M3 F6_E3M2 F4 C64".split(" "),
);

interface Placed extends TensorInfo {
  /** Bytes from the beginning of the file. */
  readonly position: number;
  readonly elements: number;
}

/**
 * Opens a safetensors file. Nothing but its header is read.
 * @throws RepkitError "file" where any rule of the format is broken
 */
export function openSafetensors(path: string): TensorFile {
  const file = ByteFile.open(path);
  try {
    return describe(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Whether a file that begins with these bytes claims to be safetensors. */
export function looksLikeSafetensors(start: Uint8Array): boolean {
  const opensObject = start[LENGTH_BYTES] === 0x7b;
  return opensObject && start.subarray(4, LENGTH_BYTES).every((byte) => byte === 0);
}

function describe(file: ByteFile): TensorFile {
  const { path } = file;
  const { header, dataStart } = readHeader(file);
  const placed = placeTensors(path, header.entries, dataStart, file.size);
  const strippedPrefix = commonPrefix(placed.keys());
  const tensors = new Map(
    Array.from(placed, ([name, info]) => {
      const short = name.slice(strippedPrefix.length);
      return [short, { ...info, name: short }] as const;
    }),
  );
  return {
    path,
    container: "safetensors",
    metadata: header.metadata,
    tensors,
    extras: new Map(),
    root: "",
    alternatives: [],
    strippedPrefix,
    moduleVersions: new Map(),
    inertGlobals: [],
    get(name: string): Tensor | undefined {
      const info = tensors.get(name);
      if (info === undefined) return undefined;
      const bytes = allocateElements(info.dtype, info.elements);
      file.readInto(bytes, info.position);
      return { shape: info.shape, data: decodeElements(info.dtype, bytes) };
    },
    close: () => file.close(),
  };
}

function readHeader(file: ByteFile): { header: Header; dataStart: number } {
  const { path, size } = file;
  if (size < LENGTH_BYTES) {
    throw readFailure(path, "truncated", `${size} bytes are too few for a safetensors file`);
  }
  const length = Number(file.read(0, LENGTH_BYTES).readBigUInt64LE());
  if (length > MAX_HEADER) {
    throw readFailure(path, "corrupt", `a header of ${length} bytes exceeds ${MAX_HEADER}`);
  }
  if (length > size - LENGTH_BYTES) {
    const problem = `truncated: the header has ${length} bytes, the file ${size}`;
    throw readFailure(path, "truncated", problem);
  }
  const bytes = file.read(LENGTH_BYTES, length);
  if (bytes[0] !== 0x7b || !isUtf8(bytes)) {
    throw readFailure(path, "corrupt", "the safetensors header is not a JSON object");
  }
  try {
    return { header: parseHeader(bytes.toString("utf8")), dataStart: LENGTH_BYTES + length };
  } catch (error) {
    if (!(error instanceof HeaderError)) throw error;
    throw readFailure(path, "corrupt", `broken safetensors header: ${error.message}`);
  }
}

/** Checks that the tensors tile the data section exactly, and returns them in header order. */
function placeTensors(
  path: string,
  entries: readonly HeaderEntry[],
  dataStart: number,
  fileSize: number,
): Map<string, Placed> {
  const placed = new Map<string, Placed>();
  for (const entry of entries) placed.set(entry.name, place(path, entry, dataStart));

  const byOffset = entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end);
  let expected = 0;
  for (const { name, begin, end } of byOffset) {
    if (begin !== expected) {
      const problem = `tensor ${name} begins at ${begin}, where ${expected} was expected`;
      throw readFailure(path, "corrupt", problem, { tensor: name });
    }
    expected = end;
  }
  const present = fileSize - dataStart;
  if (present < expected) {
    const problem = `truncated: the tensors need ${expected} bytes of data, ${present} are there`;
    throw readFailure(path, "truncated", problem, {
      bytesNeeded: expected,
      bytesPresent: present,
    });
  }
  if (present > expected) {
    const problem = `${present - expected} bytes follow the last tensor`;
    throw readFailure(path, "corrupt", problem);
  }
  return placed;
}

function place(path: string, entry: HeaderEntry, dataStart: number): Placed {
  const { name, shape, begin, end } = entry;
  const dtype = knownDType(path, entry);
  const elements = shape.length > MAX_RANK ? NaN : checkedCount(shape);
  const bytesNeeded = elements * DTYPE_BYTES[dtype];
  if (!Number.isSafeInteger(bytesNeeded) || end - begin !== bytesNeeded) {
    const problem =
      `tensor ${name}: data_offsets give ${end - begin} bytes, which is not what ${dtype} ` +
      `of shape ${formatShape(shape)} needs`;
    throw readFailure(path, "corrupt", problem, { tensor: name, shape });
  }
  return { name, dtype, shape, position: dataStart + begin, elements };
}

/** NaN where a partial product exceeds 2^53: a later 0 must not hide an overflow. */
function checkedCount(shape: readonly number[]): number {
  return shape.reduce((count, extent) => {
    const product = count * extent;
    return Number.isSafeInteger(product) ? product : NaN;
  }, 1);
}

function knownDType(path: string, { name, dtype }: HeaderEntry): StoredDType {
  if (isStoredDType(dtype)) return dtype;
  const known = UNSUPPORTED_DTYPES.has(dtype);
  const problem = `tensor ${name} has the ${known ? "unsupported" : "unknown"} type "${dtype}"`;
  throw readFailure(path, known ? "unsupported" : "corrupt", problem, { tensor: name });
}

/**
 * Writes a safetensors file, tensor by tensor and atomically. The header keeps names, order and
 * metadata as given. The data of wider types comes first, so that every tensor is aligned in a
 * file that is mapped into memory.
 * @throws RepkitError "file" where the system refuses; "internal" for names used twice
 */
export function writeSafetensors(
  path: string,
  entries: Iterable<TensorEntry>,
  metadata: ReadonlyMap<string, string> = new Map(),
): void {
  const all = [...entries];
  writeEntries(new SafetensorsWriter(path, all, metadata), all);
}

/** The same under way. */
export class SafetensorsWriter implements TensorWriter {
  readonly #plan: EntryPlan;
  readonly #begins: readonly number[];
  /** Of the length field and the header. */
  readonly #headLength: number;
  #head: Buffer;
  readonly #file: StagedFile;

  constructor(path: string, entries: Iterable<TensorEntry>, metadata: ReadonlyMap<string, string>) {
    this.#plan = new EntryPlan(entries);
    this.#begins = beginsByWidth(this.#plan.entries);
    this.#head = this.#headOf(metadata);
    this.#headLength = this.#head.length;
    this.#file = stageFile(path);
  }

  /** The metadata in the end. It takes no more room than what the file was begun with. */
  describe(metadata: ReadonlyMap<string, string>): void {
    this.#head = this.#headOf(metadata, this.#headLength);
  }

  write(name: string, tensor: Tensor): void {
    this.#plan.write(name, tensor, (bytes, index) => {
      this.#file.writeAt(this.#headLength + this.#begins[index]!, bytes);
    });
  }

  commit(): void {
    this.#plan.requireAllWritten();
    this.#file.writeAt(0, this.#head);
    this.#file.commit();
  }

  discard(): void {
    this.#file.discard();
  }

  #headOf(metadata: ReadonlyMap<string, string>, length?: number): Buffer {
    const placed = this.#plan.entries.map((entry, i) => ({ ...entry, begin: this.#begins[i]! }));
    return headerBytes(metadata, placed, length);
  }
}

/** Where the data of each entry begins. */
function beginsByWidth(entries: readonly PlannedEntry[]): readonly number[] {
  const width = (index: number) => DTYPE_BYTES[entries[index]!.dtype];
  const begins: number[] = [];
  let end = 0;
  for (const index of [...entries.keys()].sort((a, b) => width(b) - width(a))) {
    begins[index] = end;
    end += entries[index]!.byteLength;
  }
  return begins;
}

/** The length field and the padded header; of `total` bytes together, where that is given. */
function headerBytes(
  metadata: ReadonlyMap<string, string>,
  entries: readonly (PlannedEntry & { readonly begin: number })[],
  total?: number,
): Buffer {
  // Put together by hand: an object would move names such as "0" to the front.
  const members: string[] = [];
  if (metadata.size > 0) {
    const pairs = Array.from(metadata, ([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`);
    members.push(`"__metadata__":{${pairs.join(",")}}`);
  }
  for (const { name, dtype, shape, begin, byteLength } of entries) {
    if (name === "__metadata__") {
      throw new RepkitError("internal", "a tensor cannot be called __metadata__");
    }
    const offsets = `[${begin},${begin + byteLength}]`;
    const value = `{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":${offsets}}`;
    members.push(`${JSON.stringify(name)}:${value}`);
  }
  const json = Buffer.from(`{${members.join(",")}}`);
  const aligned = json.length + (-json.length & (ALIGNMENT - 1));
  const length = total === undefined ? aligned : total - LENGTH_BYTES;
  if (json.length > length) {
    throw new RepkitError("internal", `a header of ${json.length} bytes, ${length} were announced`);
  }
  const padding = Buffer.alloc(length - json.length, " ");
  if (length > MAX_HEADER) {
    throw new RepkitError("internal", `a header of ${length} bytes exceeds ${MAX_HEADER}`);
  }
  const lengthField = Buffer.alloc(LENGTH_BYTES);
  lengthField.writeBigUInt64LE(BigInt(length));
  return Buffer.concat([lengthField, json, padding]);
}
