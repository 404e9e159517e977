/**
 * Reading the zip archives that `torch.save` writes: stored entries, found by the central directory.
 * Whatever else a zip file may be (compressed, encrypted, split, overlapping) is refused.
 * Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
import { isUtf8 } from "node:buffer";
import { crc32 } from "node:zlib";

import type { ByteFile } from "./byte-file.js";
import { readFailure } from "./failure.js";

const LOCAL_HEADER = 0x04034b50;
const DIRECTORY_HEADER = 0x02014b50;
const DIRECTORY_END = 0x06054b50;
const DIRECTORY_END64 = 0x06064b50;
const DIRECTORY_END64_LOCATOR = 0x07064b50;
const ZIP64_FIELD = 0x0001;
const ENCRYPTED = 0x0001;
const IN_ZIP64 = 0xffffffff; // the real value is in a 64-bit field

/** An entry as the central directory states it. */
export interface ZipRecord {
  readonly name: string;
  readonly flags: number;
  /** 0: stored as it is. */
  readonly method: number;
  readonly compressedSize: number;
  readonly size: number;
  readonly crc32: number;
  readonly headerPosition: number;
}

/** A stored entry and its place in the file. */
export interface ZipEntry {
  readonly name: string;
  readonly position: number;
  readonly size: number;
  /**
   * Checksum of the content; undefined where the writer left it out (0: `torch.save` with
   * `compute_crc32=False`).
   */
  readonly crc32: number | undefined;
}

export interface ZipDirectory {
  readonly records: readonly ZipRecord[];
  /** Where the central directory begins, behind all entries. */
  readonly position: number;
}

/** @throws RepkitError "file": `truncated` without an end record, else `corrupt` */
export function readZipDirectory(file: ByteFile): ZipDirectory {
  const { count, size, position } = findDirectory(file);
  const bytes = file.read(position, size);
  const records: ZipRecord[] = [];
  const names = new Set<string>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    const { record, next } = parseRecord(file.path, bytes, at);
    if (names.has(record.name)) throw corrupt(file.path, `two entries are called ${record.name}`);
    names.add(record.name);
    records.push(record);
    at = next;
  }
  if (at !== bytes.length) throw corrupt(file.path, "its directory has a wrong size");
  return { records, position };
}

/**
 * Finds the content of every entry.
 * @throws RepkitError "file": `unsupported` for compressed or encrypted entries, `corrupt` for
 *   entries that overlap, leave the file or contradict their own header
 */
export function placeZipEntries(
  file: ByteFile,
  { records, position: limit }: ZipDirectory,
): Map<string, ZipEntry> {
  const entries = new Map<string, ZipEntry>();
  let end = 0;
  for (const record of records.toSorted((a, b) => a.headerPosition - b.headerPosition)) {
    if (record.headerPosition < end) throw corrupt(file.path, `entry ${record.name} overlaps`);
    const position = contentPosition(file, record, limit);
    end = position + record.size;
    const { name, size, crc32: sum } = record;
    entries.set(name, { name, position, size, crc32: sum === 0 ? undefined : sum });
  }
  return entries;
}

/** @throws RepkitError "file" (`corrupt`) where the content does not match its checksum */
export function verifyZipEntry(file: ByteFile, entry: ZipEntry): void {
  if (entry.crc32 === undefined) return;
  let sum = 0;
  for (const piece of file.pieces(entry.position, entry.size)) sum = crc32(piece, sum);
  if (sum === entry.crc32) return;
  throw readFailure(file.path, "corrupt", `damaged: the checksum of ${entry.name} does not match`);
}

function findDirectory(file: ByteFile): { count: number; size: number; position: number } {
  const { path } = file;
  const tailLength = Math.min(file.size, 22 + 0xffff);
  const tailStart = file.size - tailLength;
  const tail = file.read(tailStart, tailLength);
  let at = tailLength - 22;
  // The last record whose comment ends where the file ends.
  const isEnd = (): boolean =>
    tail.readUInt32LE(at) === DIRECTORY_END && at + 22 + tail.readUInt16LE(at + 20) === tailLength;
  while (at >= 0 && !isEnd()) at--;
  if (at < 0) {
    throw readFailure(path, "truncated", "truncated: the zip archive has no directory at its end");
  }
  const end = tailStart + at;
  const directory64 = at >= 20 ? findDirectory64(file, end, tail.subarray(at - 20, at)) : undefined;
  const found = directory64 ?? {
    disks: tail.readUInt32LE(at + 4), // this disk and the one with the directory
    count: tail.readUInt16LE(at + 10),
    size: tail.readUInt32LE(at + 12),
    position: tail.readUInt32LE(at + 16),
    end,
  };
  const { count, size, position, disks } = found;
  if (disks !== 0) throw readFailure(path, "unsupported", "is a zip archive in several parts");
  // The record of one entry takes at least 46 bytes.
  if (!(position + size <= found.end) || !(count * 46 <= size)) {
    throw corrupt(path, "its directory leaves the file");
  }
  return { count, size, position };
}

function findDirectory64(
  file: ByteFile,
  end: number,
  locator: Buffer,
): { disks: number; count: number; size: number; position: number; end: number } | undefined {
  if (locator.readUInt32LE(0) !== DIRECTORY_END64_LOCATOR) return undefined;
  const start = Number(locator.readBigUInt64LE(8));
  if (!(start + 56 <= end - 20)) throw corrupt(file.path, "its directory leaves the file");
  const record = file.read(start, 56);
  if (record.readUInt32LE(0) !== DIRECTORY_END64) throw corrupt(file.path, "its directory is lost");
  return {
    disks: record.readUInt32LE(16) + record.readUInt32LE(20),
    count: Number(record.readBigUInt64LE(32)),
    size: Number(record.readBigUInt64LE(40)),
    position: Number(record.readBigUInt64LE(48)),
    end: start,
  };
}

function parseRecord(path: string, bytes: Buffer, at: number): { record: ZipRecord; next: number } {
  if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== DIRECTORY_HEADER) {
    throw corrupt(path, "its directory is broken");
  }
  const nameLength = bytes.readUInt16LE(at + 28);
  const extraLength = bytes.readUInt16LE(at + 30);
  const commentLength = bytes.readUInt16LE(at + 32);
  const extraStart = at + 46 + nameLength;
  const next = extraStart + extraLength + commentLength;
  if (next > bytes.length) throw corrupt(path, "its directory is broken");
  const nameBytes = bytes.subarray(at + 46, extraStart);
  const name = nameBytes.toString(isUtf8(nameBytes) ? "utf8" : "latin1");
  if (name.startsWith("/") || name.includes("\0") || /(?:^|[\\/])\.\.(?:[\\/]|$)/.test(name)) {
    throw corrupt(path, `an entry has the name ${name}`);
  }
  const extra = bytes.subarray(extraStart, extraStart + extraLength);
  const wide = zip64Values(path, extra);
  const widen = (value: number): number => (value === IN_ZIP64 ? wide() : value);
  // In the extra field they come in this order, each only where it is needed.
  const size = widen(bytes.readUInt32LE(at + 24));
  const compressedSize = widen(bytes.readUInt32LE(at + 20));
  const headerPosition = widen(bytes.readUInt32LE(at + 42));
  const record: ZipRecord = {
    name,
    flags: bytes.readUInt16LE(at + 8),
    method: bytes.readUInt16LE(at + 10),
    compressedSize,
    size,
    crc32: bytes.readUInt32LE(at + 16),
    headerPosition,
  };
  return { record, next };
}

/** Hands out the 64-bit values of the zip64 extra field, one after the other. */
function zip64Values(path: string, extra: Buffer): () => number {
  let values: Buffer = Buffer.alloc(0);
  for (let at = 0; at + 4 <= extra.length;) {
    const length = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === ZIP64_FIELD) values = extra.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
  let used = 0;
  return () => {
    if (used + 8 > values.length) throw corrupt(path, "a 64-bit size is missing");
    used += 8;
    return Number(values.readBigUInt64LE(used - 8));
  };
}

/** Where the content begins: behind a local header whose length only the header itself states. */
function contentPosition(file: ByteFile, record: ZipRecord, limit: number): number {
  const { path } = file;
  const { name, flags, method, headerPosition } = record;
  if ((flags & ENCRYPTED) !== 0 || method !== 0) {
    const how = method === 0 ? "encrypted" : "compressed";
    const problem = `entry ${name} is ${how}, which torch.save never does`;
    throw readFailure(path, "unsupported", problem);
  }
  if (record.size !== record.compressedSize) throw corrupt(path, `entry ${name} has two sizes`);
  const outside = corrupt(path, `entry ${name} leaves the file`);
  if (!(headerPosition + 30 <= limit)) throw outside;
  const header = file.read(headerPosition, 30);
  if (header.readUInt32LE(0) !== LOCAL_HEADER) throw corrupt(path, `entry ${name} has no header`);
  const nameLength = header.readUInt16LE(26);
  const position = headerPosition + 30 + nameLength + header.readUInt16LE(28);
  if (!(position + record.size <= limit)) throw outside;
  return position;
}

function corrupt(path: string, problem: string): Error {
  return readFailure(path, "corrupt", `broken zip archive: ${problem}`);
}
