/** A file that is read by slices. Every read is checked against the size the file had when opened. */
import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";

import { RepkitError } from "../errors.js";
import { describeSystemError } from "../util/system-error.js";
import { readFailure } from "./failure.js";

const MAX_READ = 1 << 30; // bytes per system call; Node refuses 2^31 and more

export class ByteFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  #descriptor: number | undefined;

  private constructor(path: string, size: number, descriptor: number) {
    this.path = path;
    this.size = size;
    this.#descriptor = descriptor;
  }

  /** @throws RepkitError "file" (`unreadable`) unless it is a regular file that may be read. */
  static open(path: string): ByteFile {
    let descriptor: number | undefined;
    try {
      // Asked before opening: to open a named pipe is to wait for a writer.
      const isFile = statSync(path).isFile();
      if (!isFile) throw readFailure(path, "unreadable", "is not a regular file");
      descriptor = openSync(path, "r");
      return new ByteFile(path, fstatSync(descriptor).size, descriptor);
    } catch (error) {
      if (descriptor !== undefined) closeSync(descriptor);
      if (error instanceof RepkitError) throw error;
      throw readFailure(path, "unreadable", describeSystemError(error));
    }
  }

  /** Fills `target` with the bytes from `position` on. The caller has checked the bounds it claims. */
  readInto(target: Uint8Array, position: number): void {
    if (this.#descriptor === undefined) {
      throw new RepkitError("internal", `${this.path}: read after close`);
    }
    if (position < 0 || position + target.byteLength > this.size) {
      throw readFailure(this.path, "truncated", "ends before the bytes it promises");
    }
    let done = 0;
    while (done < target.byteLength) {
      const length = Math.min(MAX_READ, target.byteLength - done);
      let count: number;
      try {
        count = readSync(this.#descriptor, target, done, length, position + done);
      } catch (error) {
        throw readFailure(this.path, "unreadable", describeSystemError(error));
      }
      if (count === 0) throw readFailure(this.path, "truncated", "became shorter while being read");
      done += count;
    }
  }

  /** A fresh buffer with `length` bytes from `position` on. */
  read(position: number, length: number): Buffer {
    if (position < 0 || length < 0 || position + length > this.size) {
      throw readFailure(this.path, "truncated", "ends before the bytes it promises");
    }
    const bytes = Buffer.allocUnsafeSlow(length);
    this.readInto(bytes, position);
    return bytes;
  }

  /** Hands out the bytes of a range piece by piece; a piece is valid only until the next one. */
  *pieces(position: number, length: number, pieceSize = 1 << 20): Generator<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(Math.min(pieceSize, length));
    for (let done = 0; done < length; done += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, length - done));
      this.readInto(piece, position + done);
      yield piece;
    }
  }

  close(): void {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}
