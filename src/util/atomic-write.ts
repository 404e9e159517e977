/**
 * Writing a file so that a crash at any moment leaves the old file or the new one, whole.
 *
 * The bytes go to a temporary file in the same folder (`.repkit-<random>.tmp`), are flushed to the
 * device, and take the file's name by rename; then the folder is flushed. Only a process that ends without
 * Node's `exit` event (killed outright, or by a signal that nobody listens to) can leave the temporary file
 * behind.
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
  fdatasync,
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

import { fileError, RepkitError } from "../errors.js";
import { describeSystemError } from "./system-error.js";

const MAX_LINKS = 40; // as the Linux kernel
const MAX_WRITE = 1 << 30; // bytes per system call; Node refuses 2^31 and more
const FLUSHED_AT_ONCE = 1 << 25; // bytes

/** Takes the bytes of a file from its first to its last. */
export interface ByteSink {
  /** Bytes taken so far. */
  readonly position: number;
  /** Done with `bytes` when it returns. */
  write(bytes: Uint8Array): void;
}

/**
 * Puts what `fill` gives to its sink in the place of `path`. Where anything fails, also `fill`
 * itself, the temporary file is removed and the old file untouched.
 * @throws RepkitError "file" where the system refuses; whatever `fill` throws
 */
export function writeFileAtomically(path: string, fill: (sink: ByteSink) => void): void {
  const file = stageFile(path);
  try {
    fill(file);
    file.commit();
  } finally {
    file.discard();
  }
}

/** A file under way, for writers that take more than one turn of the event loop. */
export interface StagedFile extends ByteSink {
  /** Writes at `position`, which the file's own does not follow. */
  writeAt(position: number, bytes: Uint8Array): void;
  /** Puts the file in its place. */
  commit(): void;
  /** Removes it, unless it has been put in its place; so does the `exit` event of the process. */
  discard(): void;
}

/** Begins a file that is to replace `path`. @throws RepkitError "file" where the system refuses */
export function stageFile(path: string): StagedFile {
  const { target, existing } = attempt(path, () => resolveTarget(path));
  if (existing !== undefined) {
    if (existing.isDirectory()) throw writeFailure(path, "is a folder");
    if (!existing.isFile()) throw writeFailure(path, "is not a regular file");
    attempt(path, () => accessSync(target, constants.W_OK));
  }
  return new TemporaryFile(path, target, existing);
}

class TemporaryFile implements StagedFile {
  readonly #path: string;
  readonly #target: string;
  readonly #existing: Stats | undefined;
  readonly #temporary: string;
  readonly #descriptor: number;
  /** Of its own, so that what a flush on the way has met is not forgotten by the last one. */
  readonly #flushed: number;
  #position = 0;
  #unflushed = 0;
  #isFlushing = false;
  #isOpen = true;

  constructor(path: string, target: string, existing: Stats | undefined) {
    this.#path = path;
    this.#target = target;
    this.#existing = existing;
    const folder = dirname(target);
    this.#temporary = join(folder, `.repkit-${randomBytes(8).toString("hex")}.tmp`);
    // Whoever may not read the old file may not read the new one on its way either.
    const mode = existing === undefined ? 0o666 : existing.mode & 0o777;
    this.#descriptor = attempt(path, () => openSync(this.#temporary, "wx", mode | 0o600), folder);
    try {
      this.#flushed = attempt(path, () => openSync(this.#temporary, "r"), folder);
    } catch (error) {
      closeSync(this.#descriptor);
      rmSync(this.#temporary, { force: true });
      throw error;
    }
    if (underWay.size === 0) process.on("exit", discardAll);
    underWay.add(this);
  }

  get position(): number {
    return this.#position;
  }

  write(bytes: Uint8Array): void {
    this.writeAt(this.#position, bytes);
    this.#position += bytes.byteLength;
  }

  writeAt(position: number, bytes: Uint8Array): void {
    this.#requireOpen();
    for (let done = 0; done < bytes.byteLength;) {
      const length = Math.min(MAX_WRITE, bytes.byteLength - done);
      const [start, at] = [done, position + done];
      done += attempt(this.#path, () => writeSync(this.#descriptor, bytes, start, length, at));
    }
    this.#flush(bytes.byteLength);
  }

  /** Lets the device begin while more is computed: a commit waits for what is left. */
  #flush(written: number): void {
    this.#unflushed += written;
    if (this.#unflushed < FLUSHED_AT_ONCE || this.#isFlushing) return;
    this.#unflushed = 0;
    this.#isFlushing = true;
    fdatasync(this.#flushed, () => (this.#isFlushing = false));
  }

  commit(): void {
    this.#requireOpen();
    const existing = this.#existing;
    if (existing !== undefined) {
      const mode = existing.mode & 0o7777;
      attempt(this.#path, () => fchmodSync(this.#descriptor, mode));
    }
    attempt(this.#path, () => fsyncSync(this.#descriptor));
    this.#close();
    try {
      attempt(this.#path, () => renameSync(this.#temporary, this.#target));
    } catch (error) {
      rmSync(this.#temporary, { force: true });
      throw error;
    }
    flushFolder(dirname(this.#target));
  }

  discard(): void {
    if (!this.#isOpen) return;
    this.#close();
    rmSync(this.#temporary, { force: true });
  }

  #close(): void {
    this.#isOpen = false;
    underWay.delete(this);
    if (underWay.size === 0) process.off("exit", discardAll);
    closeSync(this.#descriptor);
    closeSync(this.#flushed);
  }

  #requireOpen(): void {
    if (this.#isOpen) return;
    throw new RepkitError(
      "internal",
      `${this.#path}: written after it was put in place or discarded`,
    );
  }
}

const underWay = new Set<TemporaryFile>();

function discardAll(): void {
  for (const file of underWay) file.discard();
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
