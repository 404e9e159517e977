/** The paths of all images in one piece of memory that threads can share. */
import { join } from "node:path";

import { fileError } from "../../errors.js";
import type { Folder } from "./walk.js";

/** What a thread needs of a FileTable; posted without copying the paths. */
export interface SharedFileTable {
  /** Absolute path of the folder that the paths are relative to. */
  readonly root: string;
  /** The paths in UTF-8, one after the other, with `/` between their parts. */
  readonly bytes: SharedArrayBuffer;
  /** Uint32: path i is bytes offsets[i] to offsets[i+1]; one more than there are paths. */
  readonly offsets: SharedArrayBuffer;
}

export class FileTable {
  readonly root: string;
  readonly length: number;
  readonly #shared: SharedFileTable;
  readonly #bytes: Buffer;
  readonly #offsets: Uint32Array;

  private constructor(shared: SharedFileTable) {
    this.root = shared.root;
    this.#shared = shared;
    this.#bytes = Buffer.from(shared.bytes);
    this.#offsets = new Uint32Array(shared.offsets);
    this.length = this.#offsets.length - 1;
  }

  /** In another thread: the table that was shared. */
  static from(shared: SharedFileTable): FileTable {
    return new FileTable(shared);
  }

  /** To be posted to another thread. */
  share(): SharedFileTable {
    return this.#shared;
  }

  /** Relative to the root, with `/` between the parts. */
  path(index: number): string {
    const begin = this.#offsets[index];
    const end = this.#offsets[index + 1];
    if (begin === undefined || end === undefined) {
      throw new RangeError(`file ${index} of ${this.length}`);
    }
    return this.#bytes.toString("utf8", begin, end);
  }

  /** To open the file. */
  absolute(index: number): string {
    return join(this.root, this.path(index));
  }
}

const MAX_BYTES = 2 ** 32 - 1; // offsets are Uint32

/** The table of all images in these folders, in their order. */
export function buildFileTable(root: string, folders: readonly Folder[]): FileTable {
  const prefixes = folders.map(({ path }) => Buffer.from(`${path}/`));
  let size = 0;
  let count = 0;
  folders.forEach(({ listing: { images, imageCount } }, i) => {
    // The zero bytes that end the names are not kept.
    size += images.length + imageCount * ((prefixes[i]?.length ?? 0) - 1);
    count += imageCount;
  });
  if (size > MAX_BYTES) {
    throw fileError(root, `the paths of its ${count} images are longer than ${MAX_BYTES} bytes`);
  }
  const shared = {
    root,
    bytes: new SharedArrayBuffer(size),
    offsets: new SharedArrayBuffer(4 * (count + 1)),
  };
  const bytes = Buffer.from(shared.bytes);
  const offsets = new Uint32Array(shared.offsets);
  let position = 0;
  let file = 0;
  folders.forEach(({ listing: { images } }, i) => {
    for (let begin = 0; begin < images.length;) {
      const end = images.indexOf(0, begin);
      position += prefixes[i]?.copy(bytes, position) ?? 0;
      position += images.copy(bytes, position, begin, end);
      offsets[++file] = position;
      begin = end + 1;
    }
  });
  return FileTable.from(shared);
}
