/**
 * Writing a file so that a crash at any moment leaves the old file or the new one, whole.
 *
 * The bytes go to a temporary file in the same folder (`.repkit-<random>.tmp`), are flushed to the
 * device, and take the file's name by rename; then the folder is flushed. Only a process killed
 * outright can leave the temporary file behind.
 *
 * NOTE: where the path is a symbolic link, the file that it points to is replaced and the link
 * stays. An existing file keeps its permission bits, and one without write permission is not
 * replaced. Devices and pipes (`/dev/null`) are refused: a rename would put a file in their place.
 */
import { randomBytes } from "node:crypto";
import {
  accessSync,
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  lstatSync,
  openSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeSync,
  type Stats,
} from "node:fs";
import { dirname, join, resolve } from "node:path";

import { fileError, type RepkitError } from "../errors.js";
import { describeSystemError } from "./system-error.js";

const MAX_LINKS = 40; // as the Linux kernel
const MAX_WRITE = 1 << 30; // bytes per system call; Node refuses 2^31 and more

/** Takes the bytes of a file from its first to its last. */
export interface ByteSink {
  /** Bytes taken so far. */
  readonly position: number;
  /** Done with `bytes` when it returns. */
  write(bytes: Uint8Array): void;
}

/**
 * Puts what `write` gives to its sink in the place of `path`. Where anything fails, also `write`
 * itself, the temporary file is removed and the old file untouched.
 * @throws RepkitError "file" where the system refuses; whatever `write` throws
 */
export function writeFileAtomically(path: string, write: (sink: ByteSink) => void): void {
  const { target, existing } = attempt(path, () => resolveTarget(path));
  if (existing !== undefined) {
    if (existing.isDirectory()) throw writeFailure(path, "is a folder");
    if (!existing.isFile()) throw writeFailure(path, "is not a regular file");
    attempt(path, () => accessSync(target, constants.W_OK));
  }
  const folder = dirname(target);
  const temporary = join(folder, `.repkit-${randomBytes(8).toString("hex")}.tmp`);
  let descriptor = attempt(path, () => openSync(temporary, "wx"), folder);
  try {
    const sink = new FileSink(path, descriptor);
    write(sink);
    if (existing !== undefined) {
      const mode = existing.mode & 0o7777;
      attempt(path, () => fchmodSync(descriptor, mode));
    }
    attempt(path, () => fsyncSync(descriptor));
    closeSync(descriptor);
    descriptor = -1;
    attempt(path, () => renameSync(temporary, target));
  } catch (error) {
    if (descriptor !== -1) closeSync(descriptor);
    rmSync(temporary, { force: true });
    throw error;
  }
  flushFolder(folder);
}

class FileSink implements ByteSink {
  readonly #path: string;
  readonly #descriptor: number;
  #position = 0;

  constructor(path: string, descriptor: number) {
    this.#path = path;
    this.#descriptor = descriptor;
  }

  get position(): number {
    return this.#position;
  }

  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.byteLength;) {
      const length = Math.min(MAX_WRITE, bytes.byteLength - done);
      const start = done;
      done += attempt(this.#path, () => writeSync(this.#descriptor, bytes, start, length));
    }
    this.#position += bytes.byteLength;
  }
}

/** Follows symbolic links, also one whose file does not exist yet. */
function resolveTarget(path: string): { target: string; existing: Stats | undefined } {
  let target = resolve(path);
  for (let links = 0; links <= MAX_LINKS; links++) {
    const existing = lstatSync(target, { throwIfNoEntry: false });
    if (existing?.isSymbolicLink() !== true) return { target, existing };
    target = resolve(dirname(target), readlinkSync(target));
  }
  throw writeFailure(path, "too many symbolic links");
}

/** Makes the rename itself durable; where folders cannot be opened (Windows), it is not needed. */
function flushFolder(folder: string): void {
  if (process.platform === "win32") return;
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Runs a system call; its failure becomes an error that names the file. */
function attempt<T>(path: string, call: () => T, folder?: string): T {
  try {
    return call();
  } catch (error) {
    if ((error as { syscall?: unknown } | null)?.syscall === undefined) throw error;
    const missing = folder !== undefined && (error as { code?: unknown }).code === "ENOENT";
    const problem = missing ? `the folder ${folder} does not exist` : describeSystemError(error);
    throw writeFailure(path, problem, error);
  }
}

function writeFailure(path: string, problem: string, cause?: unknown): RepkitError {
  return fileError(path, `cannot write: ${problem}`, { cause, details: { reason: "unwritable" } });
}
