/** The two halves of a data set: `train/` and `val/`, with the same classes. */
import { readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

import { fileError, type RepkitError } from "../../errors.js";
import { printable } from "../../util/printable.js";
import { describeSystemError } from "../../util/system-error.js";
import { openImageFolder } from "./image-folder.js";
import { nameSome } from "./names.js";
import type { ImageFolder, ImageFolderOptions, Split } from "./types.js";

/** What else people call them. */
const OTHER_NAMES: Readonly<Record<Split, readonly string[]>> = {
  train: ["training", "trn"],
  val: ["validation", "valid", "test", "testing", "dev", "eval"],
};

/** `root/train` or `root/val`. */
export async function openDataset(
  root: string,
  split: Split,
  options: ImageFolderOptions = {},
): Promise<ImageFolder> {
  const path = join(resolve(root), split);
  if (statSync(path, { throwIfNoEntry: false }) === undefined) throw missingSplit(root, split);
  return openImageFolder(path, options);
}

function missingSplit(root: string, split: Split): RepkitError {
  let names: string[];
  try {
    names = readdirSync(root);
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const hint = isMissing ? `; to draw images to try things on: repkit sample-data ${root}` : "";
    return fileError(printable(root), `${describeSystemError(error)}${hint}`, { cause: error });
  }
  const other = names.find((name) =>
    [split, ...OTHER_NAMES[split]].some((known) => known === name.toLowerCase()),
  );
  const wayOut =
    other === undefined
      ? "expected train/<class>/<image> and val/<class>/<image>"
      : `did you mean ${other}/? Rename it, or link to it: ln -s ${other} ${join(root, split)}`;
  return fileError(printable(root), `no folder ${split}/ in it; ${wayOut}`);
}

/**
 * Labels are places among the classes, so both halves must have the same ones. Returns the classes
 * that `val` lacks: where there are any, it has to be relabelled.
 * @throws RepkitError "file" where `val` has classes that `train` does not have
 */
export function checkSameClasses(train: ImageFolder, val: ImageFolder): readonly string[] {
  checkKnown(train.classes, val, printable(train.root));
  const present = new Set(val.classes);
  return train.classes.filter((name) => !present.has(name));
}

/**
 * The same images with labels that are places in `classes`, for example those a model was trained on.
 * @throws RepkitError "file" where the folder has other classes too
 */
export function relabel(folder: ImageFolder, classes: readonly string[]): ImageFolder {
  checkKnown(classes, folder, "the model");
  const places = new Map(classes.map((name, place) => [name, place]));
  const labelOf = folder.classes.map((name) => places.get(name) ?? 0);
  return { ...folder, classes, labels: folder.labels.map((label) => labelOf[label] ?? 0) };
}

function checkKnown(classes: readonly string[], folder: ImageFolder, owner: string): void {
  const known = new Set(classes);
  const strangers = folder.classes.filter((name) => !known.has(name));
  if (strangers.length === 0) return;
  const [noun, pronoun] = strangers.length === 1 ? ["class", "it"] : ["classes", "them"];
  throw fileError(
    printable(folder.root),
    `${strangers.length} ${noun} that ${owner} does not have (${nameSome(strangers)}); remove ${pronoun} or rename ${pronoun}`,
  );
}
