// What the tests of image folders share.

import type { ImageFolder } from "../../../src/data/folder/index.js";
import { fileSystem, type FolderSystem } from "../../../src/data/folder/system.js";

export const pathsOf = ({ files }: ImageFolder): string[] =>
  Array.from({ length: files.length }, (_, i) => files.path(i));

/** The real file system, a minute later: so that whatever a test just wrote counts as settled. */
export const MINUTE_LATER: FolderSystem = { ...fileSystem, now: () => Date.now() + 60_000 };

/** The same, with a list of the folders that were read. */
export function watched(system: FolderSystem = MINUTE_LATER): {
  system: FolderSystem;
  listed: string[];
} {
  const listed: string[] = [];
  return {
    listed,
    system: {
      ...system,
      list(path) {
        listed.push(path);
        return system.list(path);
      },
    },
  };
}
