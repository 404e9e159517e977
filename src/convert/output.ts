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
  const existing = statSync(path, { throwIfNoEntry: false });
  if (existing?.isDirectory() === true) throw fileError(path, "is a folder; name a file in it");
  if (existing?.isFile() === false) throw fileError(path, "is not a regular file");
  requireAccess(folder, path, `the folder ${folder} is not writable`);
  if (existing !== undefined) requireAccess(path, path, "is not writable");
}

function requireAccess(place: string, path: string, problem: string): void {
  try {
    accessSync(place, constants.W_OK);
  } catch (cause) {
    throw fileError(path, problem, { cause });
  }
}
