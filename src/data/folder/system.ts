/** What is asked of the file system about folders; tests put others in its place. */
import { isUtf8 } from "node:buffer";
import { statSync } from "node:fs";
import { opendir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";

import { fileError, RepkitError } from "../../errors.js";
import { printable } from "../../util/printable.js";
import { describeSystemError } from "../../util/system-error.js";
import { isImageName, sortNames } from "./names.js";

/** What changes when a name is added to a folder, removed or replaced. Times in nanoseconds. */
export interface Stamp {
  readonly device: bigint;
  readonly inode: bigint;
  readonly modified: bigint;
  /** Unlike the time of modification, nobody can set it back. */
  readonly changed: bigint;
}

export interface Listing {
  /** Names of folders, and of links to folders; sorted by code points. */
  readonly folders: readonly string[];
  /** Names of images in UTF-8, sorted, each ended by a zero byte: a tenth of the memory of strings. */
  readonly images: Buffer;
  readonly imageCount: number;
  /** A link leads nowhere, and may lead to a folder one day without a change of this folder. */
  readonly hasLooseLinks: boolean;
}

export interface FolderSystem {
  /** Of the folder, or the one that a link leads to. */
  stamp(path: string): Promise<Stamp>;
  list(path: string): Promise<Listing>;
  /** Milliseconds since 1970. */
  now(): number;
}

const ENTRIES_AT_ONCE = 256; // links among them are looked up without leaving the event loop between

export const fileSystem: FolderSystem = {
  async stamp(path) {
    return attempt(path, async () => {
      const stats = await stat(path, { bigint: true });
      if (!stats.isDirectory()) throw fileError(printable(path), "is a file; expected a folder");
      const { dev, ino, mtimeNs, ctimeNs } = stats;
      return { device: dev, inode: ino, modified: mtimeNs, changed: ctimeNs };
    });
  },

  async list(path) {
    return attempt(path, () => listFolder(path));
  },

  now: () => Date.now(),
};

async function listFolder(path: string): Promise<Listing> {
  const folders: string[] = [];
  const images: string[] = [];
  let hasLooseLinks = false;
  let isSuspicious = false;
  for await (const entry of await opendir(path, { bufferSize: ENTRIES_AT_ONCE })) {
    const { name } = entry;
    if (name.includes("\ufffd")) isSuspicious = true;
    // As os.walk: a link counts as what it leads to, and one that leads nowhere as a file.
    const target = entry.isSymbolicLink() ? followLink(join(path, name)) : entry;
    if (target === undefined) hasLooseLinks = true;
    if (target?.isDirectory() === true) folders.push(name);
    else if (isImageName(name) && target?.isFile() !== false) images.push(name);
  }
  if (isSuspicious) await refuseUndecodable(path);
  return { ...packNames(sortNames(images)), folders: sortNames(folders), hasLooseLinks };
}

/** Sorted names in the form of a listing. */
export function packNames(names: readonly string[]): Pick<Listing, "images" | "imageCount"> {
  const images = Buffer.alloc(names.reduce((sum, name) => sum + Buffer.byteLength(name) + 1, 0));
  let position = 0;
  for (const name of names) position += images.write(name, position) + 1;
  return { images, imageCount: names.length };
}

function followLink(path: string): { isDirectory(): boolean; isFile(): boolean } | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined; // a loop of links, or permission denied on the way
  }
}

/** Names are bytes to Linux. Text is what everything else needs, from JSON to the terminal. */
async function refuseUndecodable(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true, encoding: "buffer" });
  const bad = entries.find(
    (entry) =>
      !isUtf8(entry.name) && (!entry.isFile() || isImageName(entry.name.toString("latin1"))),
  );
  if (bad === undefined) return;
  const name = printable(bad.name.toString("utf8"), 100);
  throw fileError(join(path, name), "the name is not valid UTF-8; rename it");
}

async function attempt<T>(path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof RepkitError) throw error;
    throw fileError(printable(path), describeSystemError(error), { cause: error });
  }
}
