import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "@jest/globals";

import { makeFolder } from "../../src/util/make-folder.js";

const root = mkdtempSync(join(tmpdir(), "repkit-folder-"));
afterAll(() => rmSync(root, { recursive: true }));

const codeOf = (path: string) => {
  try {
    makeFolder(path);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
  return "made";
};

test("makes a folder and those above it, and says whether it was not there", () => {
  const path = join(root, "a", "b", "c");
  expect([makeFolder(path), makeFolder(path), statSync(path).isDirectory()]).toEqual([
    ...[true, false, true],
  ]);
});

test("throws what the system says of the folder that cannot be made", () => {
  writeFileSync(join(root, "file"), "");
  expect(codeOf(join(root, "file", "below", "it"))).toBe("ENOTDIR");
  expect(codeOf(join(root, "x".repeat(300), "below"))).toBe("ENAMETOOLONG");
  expect(existsSync(join(root, "file", "below"))).toBe(false);
});

(process.platform === "linux" ? test : test.skip)(
  "returns where nothing can be made, as below /proc",
  () => {
    expect(codeOf("/proc/repkit/below")).toBe("ENOENT");
  },
);
