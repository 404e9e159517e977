// The index: folders that did not change are not read again, and nothing else changes.

import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "@jest/globals";

import { openImageFolder } from "../../../src/data/folder/index.js";
import { fileSystem } from "../../../src/data/folder/system.js";
import { temporaryTrees, type Tree } from "../../helpers/trees.js";
import { MINUTE_LATER, pathsOf, watched } from "./support.js";

const newTree = temporaryTrees();

const FILES = ["a/1.jpg", "a/2.jpg", "a/sub/3.jpg", "b/1.jpg", "c/1.jpg"];

/** A tree that was opened once; `again()` tells what is found the next time, and what was read. */
async function opened(...names: string[]) {
  const tree = newTree(...(names.length === 0 ? FILES : names));
  const cacheFolder = newTree().path;
  const first = await openImageFolder(tree.path, { cacheFolder }, MINUTE_LATER);
  expect(first.files.length).toBeGreaterThan(0);
  const file = () => {
    const [name] = readdirSync(join(cacheFolder, "folders"));
    return join(cacheFolder, "folders", name!);
  };
  const again = async () => {
    const { system, listed } = watched();
    const folder = await openImageFolder(tree.path, { cacheFolder }, system);
    const read = listed.map((path) => path.slice(tree.path.length + 1)).sort();
    return { paths: pathsOf(folder), labels: Array.from(folder.labels), read };
  };
  return { ...tree, cacheFolder, file, again };
}

describe("a tree that did not change", () => {
  it("is not read again", async () => {
    const { again, file } = await opened();
    const before = statSync(file(), { bigint: true });
    expect(await again()).toEqual({ paths: FILES, labels: [0, 0, 0, 1, 2], read: [] });
    // Nor is the index written again.
    expect(statSync(file(), { bigint: true }).mtimeNs).toBe(before.mtimeNs);
  });

  it("is read again where a change may have left no trace", async () => {
    const tree = newTree(...FILES);
    const cacheFolder = newTree().path;
    // All folders are younger than the ticks of the clock are long.
    await openImageFolder(tree.path, { cacheFolder }, fileSystem);
    const { system, listed } = watched(fileSystem);
    await openImageFolder(tree.path, { cacheFolder }, system);
    expect(listed).toHaveLength(5);
    // Once they are older, what is read then holds.
    const later = watched();
    await openImageFolder(tree.path, { cacheFolder }, later.system);
    await openImageFolder(tree.path, { cacheFolder }, later.system);
    expect(later.listed).toHaveLength(5);
  });

  it("is read each time where a link leads nowhere: it may lead to a folder one day", async () => {
    const target = newTree();
    const { again, at } = await opened();
    symlinkSync(target.at("later"), at("b/link"));
    await again();
    expect((await again()).read).toEqual(["b"]);
    target.add("later/9.jpg");
    expect((await again()).paths).toContain("b/link/9.jpg");
    expect((await again()).read).toEqual([]);
  });

  it("has no index where none is wanted", async () => {
    const cacheFolder = newTree().path;
    await openImageFolder(newTree(...FILES).path, { cacheFolder, index: false });
    expect(readdirSync(cacheFolder)).toEqual([]);
  });
});

describe("a change", () => {
  type Change = [what: string, change: (tree: Tree) => void, read: string[], paths: string[]];
  it.each<Change>([
    ["a new image", ({ add }) => add("a/0.jpg"), ["a"], ["a/0.jpg", ...FILES]],
    ["an image less", ({ at }) => rmSync(at("a/sub/3.jpg")), ["a/sub"], FILES.toSpliced(2, 1)],
    [
      "another name",
      ({ at }) => renameSync(at("b/1.jpg"), at("b/2.jpg")),
      ["b"],
      FILES.with(3, "b/2.jpg"),
    ],
    ["a new folder", ({ add }) => add("c/x/1.jpg"), ["c", "c/x"], [...FILES, "c/x/1.jpg"]],
    ["a new class", ({ add }) => add("d/1.jpg"), ["", "d"], [...FILES, "d/1.jpg"]],
    ["a class less", ({ at }) => rmSync(at("b"), { recursive: true }), [""], FILES.toSpliced(3, 1)],
    [
      "a folder in the place of another",
      ({ at, add }) => {
        add("new/7.jpg");
        rmSync(at("c"), { recursive: true });
        renameSync(at("new"), at("c"));
      },
      ["", "c"],
      FILES.with(4, "c/7.jpg"),
    ],
  ])("is noticed: %s", async (_what, change, read, paths) => {
    const tree = await opened();
    change(tree);
    expect(await tree.again()).toMatchObject({ paths, read });
    expect(await tree.again()).toMatchObject({ paths, read: [] });
  });

  it("is noticed where the time of modification was set back", async () => {
    const tree = newTree(...FILES);
    const setBack = () => utimesSync(tree.at("b"), 1e9, 1e9);
    setBack();
    const cacheFolder = newTree().path;
    await openImageFolder(tree.path, { cacheFolder }, MINUTE_LATER);
    tree.add("b/2.jpg");
    setBack();
    const folder = await openImageFolder(tree.path, { cacheFolder }, MINUTE_LATER);
    expect(pathsOf(folder)).toEqual(FILES.toSpliced(4, 0, "b/2.jpg"));
  });

  it("is noticed where another folder has the same times", async () => {
    const tree = newTree(...FILES, "new/7.jpg");
    const cacheFolder = newTree().path;
    const { system, listed } = watched({
      ...MINUTE_LATER,
      stamp: async (path) => ({ ...(await fileSystem.stamp(path)), modified: 1n, changed: 1n }),
    });
    await openImageFolder(tree.path, { cacheFolder }, system);
    listed.length = 0;
    rmSync(tree.at("c"), { recursive: true });
    renameSync(tree.at("new"), tree.at("c"));
    tree.add("new/7.jpg");
    const folder = await openImageFolder(tree.path, { cacheFolder }, system);
    expect(pathsOf(folder)).toEqual([...FILES.with(4, "c/7.jpg"), "new/7.jpg"]);
    expect(listed.sort()).toEqual([tree.at("c"), tree.at("new")]);
  });

  it("behind a link is noticed", async () => {
    const one = newTree("x/1.jpg");
    const two = newTree("x/2.jpg");
    const { at, again } = await opened("a/0.jpg");
    symlinkSync(one.at("x"), at("b"));
    expect((await again()).paths).toEqual(["a/0.jpg", "b/1.jpg"]);
    one.add("x/3.jpg");
    expect((await again()).paths).toEqual(["a/0.jpg", "b/1.jpg", "b/3.jpg"]);
    rmSync(at("b"));
    symlinkSync(two.at("x"), at("b"));
    expect((await again()).paths).toEqual(["a/0.jpg", "b/2.jpg"]);
  });
});

describe("an index that is not what it was", () => {
  it("is ignored and written anew, wherever it is damaged", async () => {
    const { again, file } = await opened("a/1.jpg", "b/1.jpg");
    const whole = readFileSync(file());
    const damages = [
      ...Array.from(whole.keys(), (at) => {
        const bytes = Buffer.from(whole);
        bytes[at]! ^= 1 << (at % 8);
        return bytes;
      }),
      ...[0, 1, 20, 60, whole.length - 1].map((length) => whole.subarray(0, length)),
      Buffer.concat([whole, Buffer.of(0)]),
    ];
    for (const bytes of damages) {
      writeFileSync(file(), bytes);
      expect(await again()).toEqual({
        paths: ["a/1.jpg", "b/1.jpg"],
        labels: [0, 1],
        read: ["", "a", "b"],
      });
      expect(readFileSync(file()).equals(whole)).toBe(true);
    }
  }, 20_000);

  interface Header {
    root: unknown;
    folders: unknown[][];
  }
  const MAGIC = "repkit image folder 1\n";

  /** The parts of an index, and an index of such parts with the right checksum. */
  function taken(bytes: Buffer): { header: Header; names: string } {
    const at = MAGIC.length + 32;
    const end = at + 8 + Number(bytes.readBigUInt64LE(at));
    const header = JSON.parse(bytes.toString("utf8", at + 8, end)) as Header;
    return { header, names: bytes.toString("utf8", end) };
  }
  function signed(headerBytes: number | undefined, header: string, names: string | Buffer): Buffer {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(headerBytes ?? Buffer.byteLength(header)));
    const rest = Buffer.concat([length, Buffer.from(header), Buffer.from(names as string)]);
    const digest = createHash("sha256").update(rest).digest();
    return Buffer.concat([Buffer.from(MAGIC), digest, rest]);
  }

  // Rows: path, inode, modified, changed, settled, folders, images, bytes. The root's comes first.
  it.each<[string, (header: Header) => void, ((names: string) => string | Buffer)?]>([
    ["another tree's", (h) => (h.root = "/elsewhere")],
    ["no folders", (h) => (h.folders = {} as never)],
    ["a row that is none", (h) => (h.folders[1] = null as never)],
    ["a row too short", (h) => h.folders[1]!.pop()],
    ["an inode that is no number", (h) => (h.folders[1]![1] = "0x10")],
    ["a time that is no text", (h) => (h.folders[1]![2] = 12)],
    ["a folder above", (h) => (h.folders[0]![5] = ["..", "a"])],
    ["the folder itself", (h) => (h.folders[0]![5] = [".", "a"])],
    ["a path for a folder", (h) => (h.folders[0]![5] = ["a", "a/sub"])],
    ["a folder without a name", (h) => (h.folders[0]![5] = ["", "a"])],
    ["a folder twice", (h) => (h.folders[0]![5] = ["a", "a"])],
    ["folders out of order", (h) => (h.folders[0]![5] = ["b", "a"])],
    ["too many images", (h) => (h.folders[1]![6] = 3)],
    ["a negative number of bytes", (h) => (h.folders[1]![7] = -12)],
    ["more bytes than there are", (h) => (h.folders[2]![7] = 2 ** 40)],
    ["bytes too many", () => undefined, (names) => `${names}c.jpg\0`],
    ["an image above", () => undefined, (names) => names.replace("22.jpg", "../jpg".slice(0, 6))],
    ["an image elsewhere", () => undefined, (names) => names.replace("22.jpg", "/a.jpg")],
    ["a file that is no image", () => undefined, (names) => names.replace("22.jpg", "22.txt")],
    ["images out of order", () => undefined, (names) => names.replace("22.jpg", "00.jpg")],
    ["an image twice", () => undefined, (names) => names.replace("22.jpg", "11.jpg")],
    ["a name without an end", () => undefined, (names) => names.replace(/\0$/, "x")],
    [
      "names that are no text",
      () => undefined,
      (names) => Buffer.from(names.replace("22", "\xff2"), "latin1"),
    ],
  ])("is ignored: %s", async (_what, changeHeader, changeNames = (names: string) => names) => {
    const { again, file } = await opened("a/11.jpg", "a/22.jpg", "b/1.jpg");
    const { header, names } = taken(readFileSync(file()));
    writeFileSync(file(), signed(undefined, JSON.stringify(header), names));
    expect((await again()).read).toEqual([]); // as it was, it is believed
    changeHeader(header);
    writeFileSync(file(), signed(undefined, JSON.stringify(header), changeNames(names)));
    expect(await again()).toEqual({
      paths: ["a/11.jpg", "a/22.jpg", "b/1.jpg"],
      labels: [0, 0, 1],
      read: ["", "a", "b"],
    });
  });

  it.each([
    ["a header longer than the file", 2 ** 40, "{}"],
    ["a header that is no JSON", undefined, "{"],
    ["a header that is nothing", undefined, "null"],
  ])("is ignored: %s", async (_what, length, header) => {
    const { again, file } = await opened();
    writeFileSync(file(), signed(length, header, ""));
    expect((await again()).read).toHaveLength(5);
    expect((await again()).read).toEqual([]);
  });
});

describe("a place for the index that cannot be used", () => {
  it("is no failure", async () => {
    const tree = newTree(...FILES);
    const { at } = newTree("file");
    for (const cacheFolder of [at("file"), "/dev/null/x"]) {
      expect(pathsOf(await openImageFolder(tree.path, { cacheFolder }))).toEqual(FILES);
    }
    const { again, file } = await opened();
    const path = file();
    rmSync(path);
    mkdirSync(path);
    expect((await again()).paths).toEqual(FILES);
  });

  it("is made where it is missing", async () => {
    const cacheFolder = newTree().at("not/yet");
    await openImageFolder(newTree(...FILES).path, { cacheFolder });
    expect(existsSync(join(cacheFolder, "folders"))).toBe(true);
  });

  it("may be used by several at once", async () => {
    const tree = newTree(...FILES);
    const cacheFolder = newTree().path;
    const open = () => openImageFolder(tree.path, { cacheFolder }, MINUTE_LATER);
    const folders = await Promise.all([open(), open(), open()]);
    expect(folders.map(pathsOf)).toEqual([FILES, FILES, FILES]);
    expect(readdirSync(join(cacheFolder, "folders"))).toHaveLength(1);
  });
});
