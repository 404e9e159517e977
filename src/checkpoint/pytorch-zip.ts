/**
 * PyTorch's zip container (since 1.6): `<name>/data.pkl` is the pickle, `<name>/data/<key>` holds
 * the bytes of each storage, `<name>/byteorder` (since 2.1) their byte order.
 * Reference: torch/serialization.py and caffe2/serialize/inline_container.cc of PyTorch.
 */
import type { ByteFile } from "./byte-file.js";
import { readFailure } from "./failure.js";
import { readStorageId } from "./persistent-id.js";
import { ByteCursor } from "./pickle-cursor.js";
import { readPickle } from "./pickle.js";
import type { PyTorchContent } from "./pytorch.js";
import { placeZipEntries, readZipDirectory, verifyZipEntry, type ZipEntry } from "./zip.js";

const PICKLE = /^([^/]+)\/data\.pkl$/;

/** Reads the pickle of an archive. @throws RepkitError "file" */
export function readArchive(file: ByteFile): PyTorchContent {
  const { path } = file;
  const directory = readZipDirectory(file);
  const names = directory.records.map(({ name }) => name);
  const prefixes = names.flatMap((name) => PICKLE.exec(name)?.[1] ?? []);
  const [prefix, another] = prefixes;
  if (prefix === undefined) {
    const problem = "a zip archive, but not one of PyTorch: it has no data.pkl";
    throw readFailure(path, "not-a-checkpoint", problem);
  }
  if (another !== undefined) {
    throw readFailure(path, "corrupt", `has two pickles, in ${prefix} and in ${another}`);
  }
  if (names.includes(`${prefix}/constants.pkl`)) {
    const problem =
      "is a TorchScript program; save its state_dict() with PyTorch and use that file";
    throw readFailure(path, "unsupported", problem);
  }
  const entries = placeZipEntries(file, directory);
  const entry = (name: string): ZipEntry | undefined => entries.get(`${prefix}/${name}`);
  requireLittleEndian(file, entry("byteorder"));

  const pickle = entry("data.pkl")!;
  verifyZipEntry(file, pickle);
  const end = pickle.position + pickle.size;
  let hasTensors = false;
  const content = readPickle(new ByteCursor(file, pickle.position, end, "corrupt"), (id) => {
    const value = readStorageId(id);
    if (value?.kind === "storage") hasTensors = true;
    return value;
  });
  return {
    ...content,
    container: "pytorch-zip",
    pickleBytes: pickle.size,
    hasTensors,
    locate: ({ key }) => {
      const found = entry(`data/${key}`);
      return found && { ...found, byteLength: found.size };
    },
  };
}

function requireLittleEndian(file: ByteFile, byteorder: ZipEntry | undefined): void {
  if (byteorder === undefined) return;
  verifyZipEntry(file, byteorder);
  const order = file.read(byteorder.position, Math.min(byteorder.size, 16)).toString("latin1");
  if (order.trim() === "little") return;
  throw readFailure(file.path, "unsupported", `its numbers are ${order.trim()}-endian, not little`);
}
