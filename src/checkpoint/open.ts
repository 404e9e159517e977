/** Opening a weights file by what is in it, not by what it is called. */
import { ByteFile } from "./byte-file.js";
import type { OpenOptions, TensorFile } from "./container.js";
import { readFailure } from "./failure.js";
import { openPyTorch, sniffPyTorch } from "./pytorch.js";
import { looksLikeSafetensors, openSafetensors } from "./safetensors.js";

const SNIFFED = 512; // bytes

/** Files that people hand over by mistake, by their first bytes. */
const STRANGERS: readonly (readonly [start: string, offset: number, what: string])[] = [
  ["\x89HDF\r\n", 0, "an HDF5 file (Keras?)"],
  ["\x1f\x8b", 0, "compressed with gzip; unpack it first"],
  ["BZh", 0, "compressed with bzip2; unpack it first"],
  ["\xfd7zXZ", 0, "compressed with xz; unpack it first"],
  ["GGUF", 0, "a GGUF file"],
  ["\x93NUMPY", 0, "a numpy array"],
  ["ustar", 257, "a tar archive; unpack it first"],
  ["version https://git-lfs", 0, "a Git LFS pointer; run git lfs pull to get the file itself"],
  ["<!DOCTYPE", 0, "a web page; the download went wrong"],
  ["<html", 0, "a web page; the download went wrong"],
];

/**
 * Opens a safetensors or PyTorch file, recognised by its content.
 * @throws RepkitError "file", with `details.reason`; see failure.ts
 */
export function openTensorFile(path: string, options: OpenOptions = {}): TensorFile {
  const start = readStart(path);
  if (start.length === 0) throw readFailure(path, "empty", "is empty");
  // Safetensors first: the low byte of its header's length may be the first byte of a pickle.
  if (looksLikeSafetensors(start)) return openSafetensors(path);
  if (sniffPyTorch(start) !== undefined) return openPyTorch(path, options);
  const text = start.toString("latin1");
  const stranger = STRANGERS.find(([bytes, offset]) => text.startsWith(bytes, offset));
  throw readFailure(
    path,
    "not-a-checkpoint",
    stranger === undefined
      ? "is neither a safetensors nor a PyTorch file"
      : `is not a checkpoint but ${stranger[2]}`,
  );
}

function readStart(path: string): Buffer {
  const file = ByteFile.open(path);
  try {
    return file.read(0, Math.min(file.size, SNIFFED));
  } finally {
    file.close();
  }
}
