// Folders of files for tests, that vanish afterwards.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterAll } from "@jest/globals";

export interface Tree {
  readonly path: string;
  readonly at: (name: string) => string;
  /** Creates empty files, and the folders they lie in; a name that ends in `/` is a folder. */
  readonly add: (...names: string[]) => void;
}

/** Fresh folders; all are removed after the tests of the file. */
export function temporaryTrees(): (...names: string[]) => Tree {
  const all = mkdtempSync(join(tmpdir(), "repkit-data-"));
  afterAll(() => {
    rmSync(all, { recursive: true, force: true });
  });
  let count = 0;
  return (...names) => {
    const path = join(all, `tree${count++}`);
    mkdirSync(path);
    const tree: Tree = {
      path,
      at: (name) => join(path, name),
      add: (...added) => {
        for (const name of added) {
          const file = join(path, name);
          mkdirSync(name.endsWith("/") ? file : dirname(file), { recursive: true });
          if (!name.endsWith("/")) writeFileSync(file, "");
        }
      },
    };
    tree.add(...names);
    return tree;
  };
}
