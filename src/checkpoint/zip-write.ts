/**
 * Writing zip archives as PyTorch reads them: stored entries whose content begins at a multiple of
 * 64 bytes, with checksums, and 64-bit offsets where 32 bits do not reach.
 * Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
import { crc32 } from "node:zlib";

import { RepkitError } from "../errors.js";
import type { ByteSink } from "../util/atomic-write.js";

const ALIGNMENT = 64; // bytes
const PADDING_FIELD = 0x4246; // "FB", the id PyTorch pads with
const UTF8_NAMES = 0x0800;
const DATE = 0x0021; // 1980-01-01, the first that can be written: files differ by content only
const LIMIT32 = 0xffffffff;
const LIMIT16 = 0xffff;

interface WrittenEntry {
  readonly name: Buffer;
  readonly crc32: number;
  readonly size: number;
  readonly headerPosition: number;
}

export class ZipWriter {
  readonly #sink: ByteSink;
  readonly #entries: WrittenEntry[] = [];

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Appends an entry; one of 4 GiB or more is refused. */
  add(entryName: string, content: Uint8Array): void {
    const name = Buffer.from(entryName);
    const size = content.byteLength;
    if (size >= LIMIT32) {
      throw new RepkitError("internal", `${entryName}: ${size} bytes are too many for one entry`);
    }
    const headerPosition = this.#sink.position;
    const sum = crc32(content);
    const padding = paddingField(headerPosition + 30 + name.length);
    const header = Buffer.alloc(30);
    header.writeUInt32LE(0x04034b50, 0);
    writeCommon(header, 4, sum, size);
    header.writeUInt16LE(name.length, 26);
    header.writeUInt16LE(padding.length, 28);
    this.#sink.write(Buffer.concat([header, name, padding]));
    this.#sink.write(content);
    this.#entries.push({ name, crc32: sum, size, headerPosition });
  }

  /** Writes the central directory; the archive is complete. */
  finish(): void {
    const position = this.#sink.position;
    for (const entry of this.#entries) this.#sink.write(directoryRecord(entry));
    const size = this.#sink.position - position;
    const count = this.#entries.length;
    if (count >= LIMIT16 || position >= LIMIT32 || size >= LIMIT32) {
      this.#sink.write(directoryEnd64({ position, size, count }, this.#sink.position));
    }
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50, 0);
    end.writeUInt16LE(Math.min(count, LIMIT16), 8);
    end.writeUInt16LE(Math.min(count, LIMIT16), 10);
    end.writeUInt32LE(Math.min(size, LIMIT32), 12);
    end.writeUInt32LE(Math.min(position, LIMIT32), 16);
    this.#sink.write(end);
  }
}

/** An extra field that moves what follows it at `position` to the next aligned byte. */
function paddingField(position: number): Buffer {
  let length = (ALIGNMENT - (position % ALIGNMENT)) % ALIGNMENT;
  if (length === 0) return Buffer.alloc(0);
  if (length < 4) length += ALIGNMENT; // its own header takes 4 bytes
  const field = Buffer.alloc(length, "Z");
  field.writeUInt16LE(PADDING_FIELD, 0);
  field.writeUInt16LE(length - 4, 2);
  return field;
}

/** The fields that local and central headers share: version, flags, method, time, sums, sizes. */
function writeCommon(header: Buffer, at: number, sum: number, size: number): void {
  header.writeUInt16LE(20, at); // version 2.0 of the format is enough to read it
  header.writeUInt16LE(UTF8_NAMES, at + 2);
  header.writeUInt16LE(DATE, at + 8);
  header.writeUInt32LE(sum, at + 10);
  header.writeUInt32LE(size, at + 14);
  header.writeUInt32LE(size, at + 18);
}

function directoryRecord({ name, crc32: sum, size, headerPosition }: WrittenEntry): Buffer {
  const wide = headerPosition >= LIMIT32;
  const extra = Buffer.alloc(wide ? 12 : 0);
  if (wide) {
    extra.writeUInt16LE(0x0001, 0);
    extra.writeUInt16LE(8, 2);
    extra.writeBigUInt64LE(BigInt(headerPosition), 4);
  }
  const header = Buffer.alloc(46);
  header.writeUInt32LE(0x02014b50, 0);
  header.writeUInt16LE(20, 4);
  writeCommon(header, 6, sum, size);
  if (wide) header.writeUInt16LE(45, 6); // 4.5 brought 64-bit offsets
  header.writeUInt16LE(name.length, 28);
  header.writeUInt16LE(extra.length, 30);
  header.writeUInt32LE(Math.min(headerPosition, LIMIT32), 42);
  return Buffer.concat([header, name, extra]);
}

/** The 64-bit end record, and the locator that points to it. */
function directoryEnd64(
  directory: { position: number; size: number; count: number },
  ownPosition: number,
): Buffer {
  const end = Buffer.alloc(56 + 20);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4); // bytes that follow this field
  end.writeUInt16LE(45, 12);
  end.writeUInt16LE(45, 14);
  end.writeBigUInt64LE(BigInt(directory.count), 24);
  end.writeBigUInt64LE(BigInt(directory.count), 32);
  end.writeBigUInt64LE(BigInt(directory.size), 40);
  end.writeBigUInt64LE(BigInt(directory.position), 48);
  end.writeUInt32LE(0x07064b50, 56);
  end.writeBigUInt64LE(BigInt(ownPosition), 64);
  end.writeUInt32LE(1, 72); // disks in all
  return end;
}
