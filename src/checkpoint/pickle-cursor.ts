/** Reads a range of a file from front to back through a small window, for the pickle reader. */
import type { ByteFile } from "./byte-file.js";
import { readFailure } from "./failure.js";

const WINDOW = 1 << 16; // bytes
const NEWLINE = 0x0a;

export class ByteCursor {
  readonly #file: ByteFile;
  readonly #end: number;
  readonly #whenShort: "truncated" | "corrupt";
  #window: Buffer = Buffer.alloc(0);
  #windowStart: number;
  #at = 0;

  /**
   * Over the bytes from `begin` to `end`, positions in the file.
   * @param whenShort what it means when the bytes run out: where the range is the rest of a file,
   *   the file was cut; where its size is stated elsewhere, its content is broken
   */
  constructor(file: ByteFile, begin: number, end: number, whenShort: "truncated" | "corrupt") {
    this.#file = file;
    this.#windowStart = begin;
    this.#end = end;
    this.#whenShort = whenShort;
  }

  get path(): string {
    return this.#file.path;
  }

  /** In the file, of the next byte. */
  get position(): number {
    return this.#windowStart + this.#at;
  }

  get remaining(): number {
    return this.#end - this.position;
  }

  byte(): number {
    if (this.#at === this.#window.length) this.#refill(1);
    return this.#window[this.#at++]!;
  }

  /** The next `count` bytes; valid until the next call. */
  take(count: number): Buffer {
    if (this.#window.length - this.#at < count) this.#refill(count);
    return this.#window.subarray(this.#at, (this.#at += count));
  }

  /** The bytes up to a newline, without it. */
  line(maxLength: number): Buffer {
    let searched = 0;
    for (;;) {
      const newline = this.#window.indexOf(NEWLINE, this.#at + searched);
      if (newline !== -1) {
        const line = this.#window.subarray(this.#at, newline);
        this.#at = newline + 1;
        return line;
      }
      searched = this.#window.length - this.#at;
      if (searched > maxLength) {
        throw readFailure(this.path, "corrupt", `a line of a pickle exceeds ${maxLength} bytes`);
      }
      this.#refill(searched + 1);
    }
  }

  /** Moves the window so that at least `count` bytes lie ahead in it. */
  #refill(count: number): void {
    const { position, remaining } = this;
    if (count > remaining) {
      const cut = this.#whenShort === "truncated";
      throw readFailure(
        this.path,
        this.#whenShort,
        cut ? "truncated: the file ends inside a pickle" : "a pickle does not end where it should",
      );
    }
    // Twice what is asked for, so that a long line is not read again for each of its windows.
    const length = Math.min(remaining, Math.max(WINDOW, 2 * count));
    this.#window = this.#file.read(position, length);
    this.#windowStart = position;
    this.#at = 0;
  }
}
