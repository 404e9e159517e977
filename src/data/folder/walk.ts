/**
 * All folders of a tree in the order of torchvision's ImageFolder: classes sorted by name; in a class
 * `sorted(os.walk(class, followlinks=True))`, which sorts whole paths; links are followed.
 */
import { join } from "node:path";

import { byCodePoints } from "./names.js";
import type { FolderSystem, Listing, Stamp } from "./system.js";

/** One folder as it was found. */
export interface Folder {
  /** Relative to the root, with `/` between the parts; the root's is empty. */
  readonly path: string;
  readonly stamp: Stamp;
  readonly listing: Listing;
  /** A change after it was read would show in its stamp. */
  readonly isSettled: boolean;
}

export interface Tree {
  readonly root: Folder;
  /** The folders of each class, the class folder itself first. */
  readonly classes: readonly (readonly Folder[])[];
  /** A folder is new or not as it was known. Where one is gone, the one above has changed. */
  readonly hasChanged: boolean;
}

export interface WalkOptions {
  /** Folders as they were found the last time, by path. */
  readonly known: ReadonlyMap<string, Folder>;
  readonly onProgress?: ((images: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told the root's listing before anything else is read; may throw. */
  readonly onRoot?: (root: Listing) => Promise<void>;
}

/** The folders that lead to one, to notice a link to any of them. */
interface Ancestors {
  readonly stamp: Stamp;
  readonly above: Ancestors | undefined;
}

const CLASSES_AT_ONCE = 8; // network file systems answer slowly, but many at once
// Time stamps are coarse: a second change within the same tick leaves no trace. FAT's ticks are 2 s.
const SETTLING_TIME = 2_000_000_000n; // nanoseconds

export async function walk(
  path: string,
  system: FolderSystem,
  options: WalkOptions,
): Promise<Tree> {
  const walker = new Walker(path, system, options);
  const root = await walker.root();
  await options.onRoot?.(root.listing);
  const names = root.listing.folders;
  const classes = new Array<readonly Folder[]>(names.length);
  let next = 0;
  const work = async () => {
    for (let index = next++; index < names.length; index = next++) {
      classes[index] = await walker.descend(names[index] ?? "", root);
    }
  };
  await Promise.all(Array.from({ length: CLASSES_AT_ONCE }, work));
  options.signal?.throwIfAborted();
  return { root, classes, hasChanged: walker.hasNews };
}

class Walker {
  readonly #root: string;
  readonly #system: FolderSystem;
  readonly #options: WalkOptions;
  #images = 0;
  #hasFailed = false;
  hasNews = false;

  constructor(root: string, system: FolderSystem, options: WalkOptions) {
    this.#root = root;
    this.#system = system;
    this.#options = options;
  }

  async root(): Promise<Folder> {
    return this.#read("", await this.#stamp(""));
  }

  /** A class folder and all below it, sorted by path. */
  async descend(name: string, root: Folder): Promise<readonly Folder[]> {
    const found: Folder[] = [];
    const waiting = [{ path: name, above: { stamp: root.stamp, above: undefined } as Ancestors }];
    try {
      for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) {
        if (this.#hasFailed) break; // another class's error is on its way
        const { path, above } = item;
        const stamp = await this.#stamp(path);
        if (leadsTo(above, stamp)) continue; // a link to a folder that it lies in
        const folder = await this.#read(path, stamp);
        found.push(folder);
        this.#images += folder.listing.imageCount;
        this.#options.onProgress?.(this.#images);
        for (const below of folder.listing.folders) {
          waiting.push({ path: `${path}/${below}`, above: { stamp, above } });
        }
      }
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    }
    return found.sort((a, b) => byCodePoints(a.path, b.path));
  }

  async #stamp(path: string): Promise<Stamp> {
    this.#options.signal?.throwIfAborted();
    return this.#system.stamp(join(this.#root, path));
  }

  async #read(path: string, stamp: Stamp): Promise<Folder> {
    const known = this.#options.known.get(path);
    if (known?.isSettled === true && isSame(known.stamp, stamp)) return known;
    // The stamp is older than what is read: a change in between makes it another the next time.
    const now = BigInt(this.#system.now()) * 1_000_000n;
    const listing = await this.#system.list(join(this.#root, path));
    const latest = stamp.modified > stamp.changed ? stamp.modified : stamp.changed;
    const isSettled = !listing.hasLooseLinks && latest + SETTLING_TIME < now;
    const folder = { path, stamp, listing, isSettled };
    if (known === undefined || !isSameFolder(known, folder)) this.hasNews = true;
    return folder;
  }
}

function leadsTo(ancestors: Ancestors | undefined, { device, inode }: Stamp): boolean {
  for (let a = ancestors; a !== undefined; a = a.above) {
    if (a.stamp.inode === inode && a.stamp.device === device) return true;
  }
  return false;
}

/** The device is left out: its number changes when it is mounted again. */
function isSame(a: Stamp, b: Stamp): boolean {
  return a.inode === b.inode && a.modified === b.modified && a.changed === b.changed;
}

function isSameFolder(a: Folder, b: Folder): boolean {
  return (
    isSame(a.stamp, b.stamp) &&
    a.isSettled === b.isSettled &&
    a.listing.folders.join("/") === b.listing.folders.join("/") &&
    a.listing.images.equals(b.listing.images)
  );
}
