/**
 * Opening PyTorch's files: `.pth`, `.pt`, `.pth.tar`, `.bin`, as `torch.save` writes them.
 *
 * Two containers hold the same thing, a pickle that refers to storages by key: since PyTorch 1.6 a
 * zip archive (`pytorch-zip.ts`), before a sequence of pickles (`pytorch-legacy.ts`). Both end here:
 * the pickle becomes plain data, the weights are found in it, and every view is checked against its
 * storage before the file counts as open.
 */
import type { Tensor } from "../graph/tensor.js";
import { ByteFile } from "./byte-file.js";
import type { ContainerKind, OpenOptions, StoredTensor, TensorFile } from "./container.js";
import { convertExtras } from "./extras.js";
import { readFailure } from "./failure.js";
import { asKind, type PickleDict } from "./pickle-values.js";
import type { PickleContent } from "./pickle.js";
import { readLegacy } from "./pytorch-legacy.js";
import { readArchive } from "./pytorch-zip.js";
import { commonPrefix, findStateDict } from "./state-dict.js";
import { StorageReader, type LocateStorage } from "./storages.js";

const ZIP_START = Buffer.from("PK\x03\x04", "latin1");
const PICKLE_START = 0x80; // the PROTO opcode

/** What either container yields. */
export interface PyTorchContent extends PickleContent {
  readonly container: ContainerKind;
  /** Size of the main pickle, bytes. */
  readonly pickleBytes: number;
  /** Whether the pickle refers to any storage. */
  readonly hasTensors: boolean;
  readonly locate: LocateStorage;
}

/**
 * Opens a PyTorch file without executing anything in it. No tensor is read yet.
 * @throws RepkitError "file", for every way in which a file can be wrong; see failure.ts
 */
export function openPyTorch(path: string, options: OpenOptions = {}): TensorFile {
  const file = ByteFile.open(path);
  try {
    return assemble(file, readContent(file), options);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** The container that a file with these first bytes would have, or undefined. */
export function sniffPyTorch(start: Uint8Array): "pytorch-zip" | "pytorch-legacy" | undefined {
  if (ZIP_START.equals(start.subarray(0, ZIP_START.length))) return "pytorch-zip";
  return start[0] === PICKLE_START ? "pytorch-legacy" : undefined;
}

function readContent(file: ByteFile): PyTorchContent {
  if (file.size === 0) throw readFailure(file.path, "empty", "is empty");
  switch (sniffPyTorch(file.read(0, Math.min(file.size, ZIP_START.length)))) {
    case "pytorch-zip":
      return readArchive(file);
    case "pytorch-legacy":
      return readLegacy(file);
    case undefined:
      throw readFailure(file.path, "not-a-checkpoint", "is not a PyTorch file");
  }
}

function assemble(file: ByteFile, content: PyTorchContent, options: OpenOptions): TensorFile {
  const { path } = file;
  const storages = new StorageReader(file, content.locate);
  const { hasTensors } = content;
  const found = findStateDict(path, content, { hasTensors, root: options.root });
  const strippedPrefix = commonPrefix(found.tensors.keys());
  const readers = new Map<string, StoredTensor>();
  for (const [name, tensor] of found.tensors) {
    readers.set(name.slice(strippedPrefix.length), storages.open(name, tensor));
  }
  const extras = convertExtras(content.value, {
    storages,
    stateDict: found.dict,
    maxValues: content.pickleBytes + 1000,
  });
  return {
    path,
    container: content.container,
    metadata: new Map(),
    tensors: new Map(
      Array.from(readers, ([name, { dtype, shape }]) => [name, { name, dtype, shape }]),
    ),
    extras,
    root: found.root,
    alternatives: found.alternatives,
    strippedPrefix,
    moduleVersions: moduleVersions(found.dict, strippedPrefix),
    inertGlobals: content.inertGlobals,
    get: (name: string): Tensor | undefined => readers.get(name)?.read(),
    close: () => file.close(),
  };
}

/** `version` of every module in the `_metadata` that `state_dict()` attaches to its result. */
function moduleVersions(dict: PickleDict, strippedPrefix: string): Map<string, number> {
  const versions = new Map<string, number>();
  const metadata = asKind(asKind(dict.attributes, "dict")?.entries.get("_metadata"), "dict");
  for (const [key, value] of metadata?.entries ?? []) {
    const version = asKind(value, "dict")?.entries.get("version");
    if (typeof key !== "string" || typeof version !== "number") continue;
    // Modules are named without a trailing dot: "module" is the stripped network itself.
    if (!`${key}.`.startsWith(strippedPrefix)) continue;
    versions.set(key.slice(strippedPrefix.length), version);
  }
  return versions;
}
