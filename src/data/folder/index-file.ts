/**
 * What a tree was found to hold, kept in a file: so that the next time only its folders are looked at,
 * not their files. A damaged, foreign or unreadable file counts as none.
 *
 * Layout: a line that names the format; SHA-256 of the rest; the length of the header (8 bytes, little
 * endian); the header (JSON); the names of all images as in a listing, folder after folder.
 */
import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

import { cacheFolder } from "../../addons/cache.js";
import { writeFileAtomically } from "../../util/atomic-write.js";
import { byCodePoints, isImageName } from "./names.js";
import type { Folder, Tree } from "./walk.js";

const MAGIC = Buffer.from("repkit image folder 1\n");
const DIGEST_BYTES = 32;
const HEADER_AT = MAGIC.length + DIGEST_BYTES + 8;
const MAX_BYTES = 2 ** 30; // 30 times ImageNet's
const MAX_HEADER_BYTES = 2 ** 28; // parsed in one piece

/** inode, modified, changed (decimal), settled, names of folders below, number of images, bytes of their names */
type Row = readonly [string, string, string, string, boolean, readonly string[], number, number];

/** Where the index of a tree is kept. `realRoot` is its path without links. */
export function indexPath(realRoot: string, cache = cacheFolder()): string {
  const name = createHash("sha256").update(realRoot).digest("hex").slice(0, 32);
  return join(cache, "folders", `${name}.index`);
}

/** Best effort: without an index the next time takes longer, and that is all. */
export function writeIndex(path: string, realRoot: string, { root, classes }: Tree): void {
  const folders = [root, ...classes.flat()];
  const rows = folders.map(({ path, stamp, listing, isSettled }): Row => [
    ...([path, `${stamp.inode}`, `${stamp.modified}`, `${stamp.changed}`, isSettled] as const),
    ...([listing.folders, listing.imageCount, listing.images.length] as const),
  ]);
  const header = Buffer.from(JSON.stringify({ root: realRoot, folders: rows }));
  if (header.length > MAX_HEADER_BYTES) return;
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const parts = [length, header, ...folders.map(({ listing }) => listing.images)];
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileAtomically(path, (sink) => {
      for (const part of [MAGIC, hash.digest(), ...parts]) sink.write(part);
    });
  } catch {
    return;
  }
}

/** The folders by path; none where there is no index of this tree that can be trusted. */
export function readIndex(path: string, realRoot: string): ReadonlyMap<string, Folder> {
  const bytes = readAtMost(path, MAX_BYTES);
  return (bytes === undefined ? undefined : parseIndex(bytes, realRoot)) ?? new Map();
}

function readAtMost(path: string, limit: number): Buffer | undefined {
  let descriptor: number | undefined;
  try {
    // Asked before opening: to open a named pipe is to wait for a writer.
    if (!statSync(path).isFile()) return undefined;
    descriptor = openSync(path, "r");
    return fstatSync(descriptor).size <= limit ? readFileSync(descriptor) : undefined;
  } catch {
    return undefined;
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** Undefined where anything is not as `writeIndex` writes it. */
function parseIndex(bytes: Buffer, realRoot: string): Map<string, Folder> | undefined {
  if (bytes.length < HEADER_AT || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const digest = bytes.subarray(MAGIC.length, MAGIC.length + DIGEST_BYTES);
  const rest = bytes.subarray(MAGIC.length + DIGEST_BYTES);
  if (!createHash("sha256").update(rest).digest().equals(digest)) return undefined;
  const headerBytes = Number(rest.readBigUInt64LE());
  if (headerBytes > Math.min(MAX_HEADER_BYTES, bytes.length - HEADER_AT)) return undefined;
  const header = parseJson(bytes.toString("utf8", HEADER_AT, HEADER_AT + headerBytes));
  if (header?.root !== realRoot || !Array.isArray(header.folders)) return undefined;

  const folders = new Map<string, Folder>();
  let position = HEADER_AT + headerBytes;
  for (const row of header.folders as unknown[]) {
    if (!isRow(row)) return undefined;
    const [path, inode, modified, changed, isSettled, below, imageCount, imageBytes] = row;
    const images = bytes.subarray(position, position + imageBytes);
    position += imageBytes;
    if (images.length !== imageBytes || !areImages(images, imageCount)) return undefined;
    folders.set(path, {
      path,
      // The device is not compared.
      stamp: stampOf(inode, modified, changed),
      listing: { folders: below, images, imageCount, hasLooseLinks: !isSettled },
      isSettled,
    });
  }
  return position === bytes.length ? folders : undefined;
}

function stampOf(inode: string, modified: string, changed: string): Folder["stamp"] {
  return {
    device: 0n,
    inode: BigInt(inode),
    modified: BigInt(modified),
    changed: BigInt(changed),
  };
}

function parseJson(text: string): { root?: unknown; folders?: unknown } | undefined {
  try {
    return JSON.parse(text) as { root?: unknown; folders?: unknown };
  } catch {
    return undefined;
  }
}

function isRow(row: unknown): row is Row {
  if (!Array.isArray(row) || row.length !== 8) return false;
  const [path, inode, modified, changed, isSettled, folders, count, bytes] = row as unknown[];
  return (
    typeof path === "string" &&
    [inode, modified, changed].every((n) => typeof n === "string" && /^-?\d{1,20}$/.test(n)) &&
    typeof isSettled === "boolean" &&
    Array.isArray(folders) &&
    areNames(folders) &&
    [count, bytes].every((n) => Number.isSafeInteger(n) && (n as number) >= 0)
  );
}

/** Names of one folder each, sorted, none twice. */
function areNames(names: readonly unknown[]): names is readonly string[] {
  let previous = "";
  return names.every((name) => {
    if (typeof name !== "string" || !isName(name) || byCodePoints(previous, name) >= 0)
      return false;
    previous = name;
    return true;
  });
}

/** Leads nowhere but into the folder that it is a name in. */
function isName(name: string): boolean {
  const isSeparated = process.platform === "win32" ? /[/\\:\0]/.test(name) : /[/\0]/.test(name);
  return name !== "." && name !== ".." && !isSeparated;
}

function areImages(images: Buffer, count: number): boolean {
  if (!isUtf8(images)) return false;
  let previous = "";
  let found = 0;
  for (let begin = 0; begin < images.length; found++) {
    const end = images.indexOf(0, begin);
    if (end === -1) return false;
    const name = images.toString("utf8", begin, end);
    if (!isImageName(name) || !isName(name) || byCodePoints(previous, name) >= 0) return false;
    previous = name;
    begin = end + 1;
  }
  return found === count;
}
