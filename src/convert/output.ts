/** Looks at the place of an output before any work is done for it. */
import { accessSync, constants, statSync } from "node:fs";
import { dirname } from "node:path";

import { fileError } from "../errors.js";

/** Throws a "file" error where nothing can be written at `path`. */
export function requireWritable(path: string): void {
  const folder = dirname(path);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw fileError(path, `the folder ${folder} does not exist`);
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw fileError(path, "is a folder; name a file in it");
  }
  try {
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw fileError(path, `the folder ${folder} is not writable`, { cause });
  }
}
