/**
 * From a pickled tensor (a strided view of a storage) to values: checks at opening that every
 * element lies inside its storage and every storage inside the file, and reads by slices later.
 */
import { constants } from "node:buffer";
import { crc32 } from "node:zlib";

import { elementCount, formatShape, type TensorData } from "../graph/tensor.js";
import { recycle, takeMemory } from "../util/spare-memory.js";
import type { ByteFile } from "./byte-file.js";
import type { StoredDType, StoredTensor } from "./container.js";
import { allocateElements, decodeElements, DTYPE_BYTES } from "./dtypes.js";
import { readFailure } from "./failure.js";
import type { PickledStorage, PickledTensor } from "./pickle-values.js";

const MAX_RANK = 64; // as in PyTorch

/** The bytes of a storage in the file. */
export interface StorageBytes {
  readonly position: number;
  readonly byteLength: number;
  /** Of all its bytes, where the container keeps one. */
  readonly crc32: number | undefined;
}

/** Finds the bytes of a storage, or undefined where the file lacks them. */
export type LocateStorage = (storage: PickledStorage) => StorageBytes | undefined;

export class StorageReader {
  readonly #file: ByteFile;
  readonly #locate: LocateStorage;
  readonly #verified = new Set<number>();
  #total = 0;

  constructor(file: ByteFile, locate: LocateStorage) {
    this.#file = file;
    this.#locate = locate;
  }

  /**
   * The tensor as something that can be read, after all checks.
   * @param name for messages: the state-dict name or the key path
   * @throws RepkitError "file": `storage-missing`, `storage-size`, `unsupported`, `corrupt`
   */
  open(name: string, tensor: PickledTensor): StoredTensor {
    const { storage, shape } = tensor;
    const { dtype } = storage;
    if (typeof dtype !== "string") {
      const problem = `tensor ${name}: ${dtype.unsupported} cannot be read`;
      throw readFailure(this.#file.path, "unsupported", problem, { tensor: name });
    }
    const bytes = this.#checkStorage(name, tensor, dtype);
    this.#checkView(name, tensor, dtype);
    return {
      kind: "tensor",
      dtype,
      shape,
      read: () => ({ shape, data: this.#read(name, tensor, dtype, bytes) }),
    };
  }

  #checkStorage(name: string, tensor: PickledTensor, dtype: StoredDType): StorageBytes {
    const { storage, shape } = tensor;
    const bytes = this.#locate(storage);
    if (bytes === undefined) {
      const problem = `tensor ${name}: its storage ${storage.key} is missing`;
      throw readFailure(this.#file.path, "storage-missing", problem, { tensor: name });
    }
    const bytesNeeded = storage.elements * DTYPE_BYTES[dtype];
    const facts = { tensor: name, shape, bytesNeeded, bytesPresent: bytes.byteLength };
    if (!(bytesNeeded <= bytes.byteLength)) {
      const problem =
        `tensor ${name}: its storage needs ${bytesNeeded} bytes, ` +
        `${bytes.byteLength} are in the file`;
      throw readFailure(this.#file.path, "storage-size", problem, facts);
    }
    if (!(storage.viewOffset + storage.viewElements <= storage.elements)) {
      const problem = `tensor ${name}: the view of its storage leaves the storage`;
      throw readFailure(this.#file.path, "storage-size", problem, facts);
    }
    return bytes;
  }

  #checkView(name: string, tensor: PickledTensor, dtype: StoredDType): void {
    const { storage, shape } = tensor;
    const { path, size } = this.#file;
    if (shape.length > MAX_RANK) {
      const problem = `tensor ${name} has ${shape.length} dimensions`;
      throw readFailure(path, "corrupt", problem, { tensor: name });
    }
    const width = DTYPE_BYTES[dtype];
    const result = elementCount(shape) * width;
    const touched = (lastIndex(tensor) + 1) * width;
    // Overlapping rows touch fewer bytes than the shape would need by itself.
    const bytesNeeded = tensor.stride.includes(0) ? touched : Math.max(touched, result);
    const bytesPresent = storage.viewElements * width;
    const facts = { tensor: name, shape, bytesNeeded, bytesPresent };
    if (!(touched <= bytesPresent)) {
      const problem =
        `tensor ${name} of shape ${formatShape(shape)} needs ${bytesNeeded} bytes of storage, ` +
        `it has ${bytesPresent}`;
      throw readFailure(path, "storage-size", problem, facts);
    }
    // Stride 0 repeats elements without storing them: a small file must not become a huge tensor.
    this.#total += result;
    const tooLarge = !(result <= Math.max(4 * size, 1 << 20));
    if (tooLarge || this.#total > 64 * size + (1 << 26)) {
      const problem = `tensor ${name}: a file of ${size} bytes expands to ${result} bytes and more`;
      throw readFailure(path, "storage-size", problem, facts);
    }
    if (result > constants.MAX_LENGTH) {
      const problem = `tensor ${name}: ${result} bytes are too many for one tensor`;
      throw readFailure(path, "unsupported", problem, facts);
    }
  }

  #read(name: string, tensor: PickledTensor, dtype: StoredDType, bytes: StorageBytes): TensorData {
    const width = DTYPE_BYTES[dtype];
    const first = tensor.storage.viewOffset + tensor.offset;
    const count = elementCount(tensor.shape);
    if (count === 0) return decodeElements(dtype, allocateElements(dtype, 0));
    const contiguous = isContiguous(tensor);
    const span = contiguous ? count : lastIndex(tensor) - tensor.offset + 1;
    const slice = allocateElements(dtype, span);
    const isWhole = slice.byteLength === bytes.byteLength;
    if (!isWhole) this.#verify(name, bytes, () => this.#checksum(bytes));
    this.#file.readInto(slice, bytes.position + first * width);
    if (isWhole) this.#verify(name, bytes, () => crc32(slice));
    if (contiguous) return decodeElements(dtype, slice);
    const gathered = gather(tensor, slice, width);
    recycle(slice);
    return decodeElements(dtype, gathered);
  }

  /** Checks a storage, once. */
  #verify(name: string, bytes: StorageBytes, checksum: () => number): void {
    if (bytes.crc32 === undefined || this.#verified.has(bytes.position)) return;
    if (checksum() !== bytes.crc32) {
      const problem = `damaged: the checksum of tensor ${name} does not match`;
      throw readFailure(this.#file.path, "corrupt", problem, { tensor: name });
    }
    this.#verified.add(bytes.position);
  }

  #checksum({ position, byteLength }: StorageBytes): number {
    let sum = 0;
    for (const piece of this.#file.pieces(position, byteLength)) sum = crc32(piece, sum);
    return sum;
  }
}

/** Index in its storage of the last element a view touches; -1 where it touches none. */
function lastIndex({ offset, shape, stride }: PickledTensor): number {
  if (shape.includes(0)) return -1;
  return shape.reduce((index, extent, axis) => index + (extent - 1) * stride[axis]!, offset);
}

/** Whether the elements lie in row-major order; axes of one element may have any stride. */
function isContiguous({ shape, stride }: PickledTensor): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && stride[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

/** Copies the elements of a strided view in row-major order. `source` begins at its first element. */
function gather(
  { shape, stride }: PickledTensor,
  source: Uint8Array<ArrayBuffer>,
  width: number,
): Uint8Array<ArrayBuffer> {
  const target = takeMemory(elementCount(shape) * width);
  const from = elementsOf(source, width);
  const to = elementsOf(target, width);
  const inner = shape.at(-1) ?? 1;
  const innerStride = stride.at(-1) ?? 1;
  const outer = shape.slice(0, -1);
  const index = outer.map(() => 0);
  let start = 0;
  for (let row = 0; row < to.length; row += inner) {
    for (let i = 0; i < inner; i++) to[row + i] = from[start + i * innerStride]!;
    // Advance the outer index like an odometer.
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      start += stride[axis]!;
      if (index[axis]! < outer[axis]!) break;
      start -= outer[axis]! * stride[axis]!;
      index[axis] = 0;
    }
  }
  return target;
}

/** Elements as opaque patterns of 1, 2, 4 or 8 bytes: gathering must not change a bit. */
function elementsOf(bytes: Uint8Array<ArrayBuffer>, width: number): PatternArray {
  const count = bytes.byteLength / width;
  switch (width) {
    case 1:
      return new Uint8Array(bytes.buffer, 0, count);
    case 2:
      return new Uint16Array(bytes.buffer, 0, count);
    case 4:
      return new Uint32Array(bytes.buffer, 0, count);
    default:
      return new BigUint64Array(bytes.buffer, 0, count) as unknown as PatternArray;
  }
}

/** NOTE: 8-byte patterns are bigints; only copied from one array to the other, never computed with. */
type PatternArray = Uint8Array | Uint16Array | Uint32Array;
