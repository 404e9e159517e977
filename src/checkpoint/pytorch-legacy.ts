/**
 * PyTorch's container before 1.6 (and of `_use_new_zipfile_serialization=False`): five pickles in a
 * row (magic number, protocol, machine, the object itself, storage keys), then for each key an int64
 * number of elements and the elements.
 * Reference: `_legacy_load` in torch/serialization.py of PyTorch.
 */
import type { ByteFile } from "./byte-file.js";
import { DTYPE_BYTES } from "./dtypes.js";
import { readFailure } from "./failure.js";
import { readStorageId } from "./persistent-id.js";
import { ByteCursor } from "./pickle-cursor.js";
import { asKind, type PickledStorage, type PickleValue } from "./pickle-values.js";
import { readPickle } from "./pickle.js";
import type { PyTorchContent } from "./pytorch.js";
import type { StorageBytes } from "./storages.js";

const MAGIC_NUMBER = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;

/** Reads the pickles of a file and finds its storages. @throws RepkitError "file" */
export function readLegacy(file: ByteFile): PyTorchContent {
  const { path } = file;
  const cursor = new ByteCursor(file, 0, file.size, "truncated");
  if (readPickle(cursor).value !== MAGIC_NUMBER) {
    const problem = "is a pickle, but not one that torch.save wrote";
    throw readFailure(path, "not-a-checkpoint", problem);
  }
  const protocol = readPickle(cursor).value;
  if (protocol !== PROTOCOL) {
    const problem = `has PyTorch's serialization protocol ${describe(protocol)}, not ${PROTOCOL}`;
    throw readFailure(path, "unsupported", problem);
  }
  const machine = asKind(readPickle(cursor).value, "dict");
  if (machine?.entries.get("little_endian") !== true) {
    throw readFailure(path, "unsupported", "its numbers are big-endian, not little");
  }

  const referenced = new Map<string, PickledStorage>();
  const start = cursor.position;
  const content = readPickle(cursor, (id) => {
    const value = readStorageId(id);
    if (value?.kind !== "storage") return value;
    const known = referenced.get(value.key);
    if (known === undefined) referenced.set(value.key, value);
    else if (known.elements !== value.elements || !sameDType(known, value)) {
      throw readFailure(path, "corrupt", `storage ${value.key} is described in two ways`);
    }
    return value;
  });
  const pickleBytes = cursor.position - start;
  const keys = asKind(readPickle(cursor).value, "list")?.items;
  if (keys === undefined) throw readFailure(path, "corrupt", "has no list of storages");
  const places = placeStorages(file, cursor.position, keys, referenced);
  return {
    ...content,
    container: "pytorch-legacy",
    pickleBytes,
    hasTensors: referenced.size > 0,
    locate: ({ key }) => places.get(key),
  };
}

function placeStorages(
  file: ByteFile,
  start: number,
  keys: readonly PickleValue[],
  referenced: ReadonlyMap<string, PickledStorage>,
): Map<string, StorageBytes> {
  const { path } = file;
  const places = new Map<string, StorageBytes>();
  let position = start;
  for (const key of keys) {
    const storage = typeof key === "string" ? referenced.get(key) : undefined;
    if (storage === undefined || places.has(storage.key)) {
      throw readFailure(path, "corrupt", `its list of storages names ${describe(key)}`);
    }
    const { dtype, elements } = storage;
    if (typeof dtype !== "string") {
      // Nothing behind it can be found without the size of its elements.
      throw readFailure(path, "unsupported", `holds a ${dtype.unsupported}, which cannot be read`);
    }
    if (position + 8 > file.size) throw truncated(file, position + 8);
    const stored = Number(file.read(position, 8).readBigInt64LE());
    if (stored !== elements) {
      const problem = `storage ${storage.key} has ${stored} elements, its tensors expect ${elements}`;
      throw readFailure(path, "storage-size", problem);
    }
    position += 8;
    const byteLength = elements * DTYPE_BYTES[dtype];
    if (!(position + byteLength <= file.size)) throw truncated(file, position + byteLength);
    places.set(storage.key, { position, byteLength, crc32: undefined });
    position += byteLength;
  }
  return places;
}

function truncated(file: ByteFile, bytesNeeded: number): Error {
  const problem = `truncated: it has ${file.size} bytes, at least ${bytesNeeded} are needed`;
  const facts = { bytesNeeded, bytesPresent: file.size };
  return readFailure(file.path, "truncated", problem, facts);
}

function sameDType(a: PickledStorage, b: PickledStorage): boolean {
  const name = ({ dtype }: PickledStorage): string =>
    typeof dtype === "string" ? dtype : dtype.unsupported;
  return name(a) === name(b);
}

function describe(value: PickleValue): string {
  return typeof value === "number" || typeof value === "string" ? String(value) : "something else";
}
