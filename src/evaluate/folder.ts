/** The images that a model is tested on, with labels that mean the model's classes. */
import { statSync } from "node:fs";
import { join } from "node:path";

import {
  type ImageFolder,
  type ImageFolderOptions,
  openDataset,
  openImageFolder,
  relabel,
} from "../data/index.js";
import { fileError } from "../errors.js";
import { printable } from "../util/printable.js";

export interface ModelClasses {
  /** Outputs of the model. */
  readonly numClasses: number;
  /** What they mean, where that is known. */
  readonly classNames: readonly string[] | undefined;
}

export interface TestFolder {
  readonly folder: ImageFolder;
  /** What was assumed, a line each. */
  readonly notes: readonly string[];
}

/** `path/val` of a data set, or `path` itself where it has neither val/ nor train/. */
export async function openTestFolder(
  path: string,
  model: ModelClasses,
  options: ImageFolderOptions = {},
): Promise<TestFolder> {
  const isDataset = ["val", "train"].some((name) => isFolder(join(path, name)));
  const folder = isDataset
    ? await openDataset(path, "val", options)
    : await openImageFolder(path, options);
  return matchClasses(folder, model);
}

/**
 * By name where the model's classes have names, otherwise in the order of the folders' names.
 * @throws RepkitError "file" where the folder has classes that the model cannot know
 */
function matchClasses(folder: ImageFolder, { numClasses, classNames }: ModelClasses): TestFolder {
  const found = folder.classes.length;
  const share = `the model has ${numClasses} classes, ${found} of them are in the folder`;
  if (classNames !== undefined) {
    const notes = found < numClasses ? [share] : [];
    return { folder: relabel(folder, classNames), notes };
  }
  if (found > numClasses) {
    throw fileError(
      printable(folder.root),
      `${found} class folders, but the model has ${numClasses} classes; test it on those it was trained for`,
    );
  }
  const order = "the weights name no classes, so the folders count as the first, in sorted order";
  return { folder, notes: found < numClasses ? [`${share}; ${order}`] : [] };
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
