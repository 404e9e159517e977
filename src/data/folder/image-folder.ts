/** Opening a folder of class folders, as torchvision's ImageFolder does. */
import { realpathSync } from "node:fs";
import { join, resolve } from "node:path";

import { fileError, type RepkitError } from "../../errors.js";
import { printable } from "../../util/printable.js";
import { buildFileTable } from "./file-table.js";
import { indexPath, readIndex, writeIndex } from "./index-file.js";
import { EXTENSIONS, nameSome } from "./names.js";
import { fileSystem, type FolderSystem, type Listing } from "./system.js";
import type { ImageFolder, ImageFolderOptions } from "./types.js";
import { walk, type Folder } from "./walk.js";

/**
 * The images of all class folders below `path`.
 * @throws RepkitError "file" where there is no such folder, no class, or a class without images
 */
export async function openImageFolder(
  path: string,
  options: ImageFolderOptions = {},
  system: FolderSystem = fileSystem,
): Promise<ImageFolder> {
  const root = resolve(path);
  const realRoot = realPath(root);
  const index =
    options.index === false || realRoot === undefined
      ? undefined
      : { path: indexPath(realRoot, options.cacheFolder), root: realRoot };
  const tree = await walk(root, system, {
    known: index === undefined ? new Map() : readIndex(index.path, index.root),
    onProgress: options.onProgress,
    signal: options.signal,
    onRoot: (listing) => checkRoot(root, listing, system),
  });
  if (index !== undefined && tree.hasChanged) writeIndex(index.path, index.root, tree);

  const classes = tree.root.listing.folders;
  const counts = tree.classes.map(imagesIn);
  if (options.allowEmpty !== true) checkCounts(root, classes, counts);
  const files = buildFileTable(root, tree.classes.flat());
  return { root, classes, files, labels: labelsOf(counts) };
}

function realPath(root: string): string | undefined {
  try {
    return realpathSync(root);
  } catch {
    return undefined; // the walk says what is wrong
  }
}

function imagesIn(folders: readonly Folder[]): number {
  return folders.reduce((sum, { listing }) => sum + listing.imageCount, 0);
}

function labelsOf(counts: readonly number[]): Uint32Array {
  const labels = new Uint32Array(counts.reduce((sum, count) => sum + count, 0));
  let begin = 0;
  counts.forEach((count, label) => {
    labels.fill(label, begin, begin + count);
    begin += count;
  });
  return labels;
}

async function checkRoot(root: string, listing: Listing, system: FolderSystem): Promise<void> {
  const { folders, imageCount } = listing;
  if (folders.length === 0) throw noClasses(root, imageCount);
  if (!folders.includes("train") || !folders.every((name) => SPLITS.has(name))) return;
  // Unless these are classes indeed: then images lie in them.
  const below = await Promise.all(folders.map((name) => system.list(join(root, name))));
  if (below.some(({ folders, imageCount }) => imageCount > 0 || folders.length === 0)) return;
  throw fileError(
    printable(root),
    `holds ${folders.map((name) => `${name}/`).join(" and ")}, each with class folders; name one of them`,
  );
}

const SPLITS = new Set(["train", "val", "valid", "validation", "test"]);

function noClasses(root: string, images: number): RepkitError {
  const found = images === 0 ? "" : `; ${images} images lie directly in it`;
  return fileError(
    printable(root),
    `no class folders in it${found}: expected <class>/<image>, a folder for each class`,
  );
}

function checkCounts(root: string, classes: readonly string[], counts: readonly number[]): void {
  const empty = classes.filter((_, label) => counts[label] === 0);
  if (empty.length === 0) return;
  throw fileError(
    printable(root),
    `no image in ${empty.length} of ${classes.length} class folders (${nameSome(empty)}); ` +
      `remove them, or put images there (${EXTENSIONS.join(" ")})`,
  );
}
