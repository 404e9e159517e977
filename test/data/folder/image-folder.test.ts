// Folders of class folders: what is found, in which order, and what is said where it cannot be.

import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Worker } from "node:worker_threads";

import { describe, expect, it } from "@jest/globals";

import {
  FileTable,
  openImageFolder as open,
  type ImageFolderOptions,
} from "../../../src/data/folder/index.js";
import { fileSystem, type FolderSystem } from "../../../src/data/folder/system.js";
import { RepkitError } from "../../../src/errors.js";
import { failureOf } from "../../helpers/failures.js";
import { temporaryTrees } from "../../helpers/trees.js";
import { pathsOf } from "./support.js";

const newTree = temporaryTrees();

const openImageFolder = (path: string, options: ImageFolderOptions = {}, system?: FolderSystem) =>
  open(path, { index: false, ...options }, system);

describe("openImageFolder", () => {
  it("labels images by the sorted names of their class folders", async () => {
    const tree = newTree(
      "dog/b.jpg",
      "dog/a.jpg",
      "cat/x.png",
      "Eel/1.bmp",
      "readme.txt",
      "top.jpg",
    );
    const folder = await openImageFolder(tree.path);
    expect(folder.root).toBe(tree.path);
    expect(folder.classes).toEqual(["Eel", "cat", "dog"]);
    expect(pathsOf(folder)).toEqual(["Eel/1.bmp", "cat/x.png", "dog/a.jpg", "dog/b.jpg"]);
    expect(Array.from(folder.labels)).toEqual([0, 1, 2, 2]);
  });

  it("takes torchvision's extensions in any case, and hidden files too", async () => {
    const names = [
      ...["a.jpg", "b.JPEG", "c.Png", "d.ppm", "e.bmp", "f.pgm", "g.tif", "h.TIFF", "i.webp"],
      ...[".jpg", ".hidden.jpg", "two\nlines.jpg", "back\\slash.jpg", "x.jpg.png"],
    ];
    const others = ["jpg", "a.jpg.txt", "a.gif", "a.jpgx", "a.jpe", "notes", "webp", "x.\u017fpg"];
    const tree = newTree(...[...names, ...others].map((name) => `c/${name}`));
    const folder = await openImageFolder(tree.path);
    expect(pathsOf(folder)).toEqual(names.map((name) => `c/${name}`).sort());
  });

  // The expected order is Python's: sorted(os.walk(...)), then sorted(names).
  it("sorts the folders of a class by their whole path, and everything by code points", async () => {
    const inOrder = [
      "b/2.jpg",
      "b/z.jpg",
      "b/a/1.jpg",
      "b/a b/1.jpg",
      "b/a-b/1.jpg",
      "b/a.jpg/1.jpg", // a folder with the name of an image
      "b/a/b/c/1.jpg",
      "b/ab/1.jpg",
      "é/e\u0301.jpg",
      "é/\ue000.jpg",
      "é/\uff5e.jpg",
      "é/😀.jpg", // sorts before U+E000 by UTF-16 units
      "é/😀😀.jpg",
      "\uff5e/1.jpg",
      "😀/1.jpg",
    ];
    const folder = await openImageFolder(newTree(...inOrder.toReversed()).path);
    expect(pathsOf(folder)).toEqual(inOrder);
    expect(folder.classes).toEqual(["b", "é", "\uff5e", "😀"]);
  });

  it("follows links to folders and files, and lists those that lead nowhere", async () => {
    const elsewhere = newTree("sub/e.jpg", "t.png");
    const tree = newTree("a/own.jpg");
    symlinkSync(elsewhere.path, tree.at("linked"));
    symlinkSync(elsewhere.at("sub"), tree.at("a/sub"));
    symlinkSync(elsewhere.at("t.png"), tree.at("a/t.jpg"));
    symlinkSync(elsewhere.at("t.png"), tree.at("a/t.txt"));
    symlinkSync("nowhere", tree.at("a/dangling.jpg"));
    symlinkSync("loop.jpg", tree.at("a/loop.jpg"));
    const folder = await openImageFolder(tree.path);
    expect(pathsOf(folder)).toEqual([
      ...["a/dangling.jpg", "a/loop.jpg", "a/own.jpg", "a/t.jpg", "a/sub/e.jpg"],
      ...["linked/t.png", "linked/sub/e.jpg"],
    ]);
  });

  it("does not go round in circles", async () => {
    const tree = newTree("a/1.jpg", "a/b/2.jpg", "c/3.jpg");
    symlinkSync("..", tree.at("a/b/up"));
    symlinkSync(tree.path, tree.at("a/root"));
    symlinkSync(".", tree.at("a/self"));
    // Two that lead into each other are seen once from each side.
    symlinkSync("../a/b", tree.at("c/b"));
    const folder = await openImageFolder(tree.path);
    expect(pathsOf(folder)).toEqual([
      "a/1.jpg",
      "a/b/2.jpg",
      "c/3.jpg",
      "c/b/2.jpg",
      "c/b/up/1.jpg",
    ]);
  });

  it("reports its progress", async () => {
    const tree = newTree("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/sub/1.jpg");
    const seen: number[] = [];
    await openImageFolder(tree.path, { onProgress: (files) => seen.push(files) });
    expect(seen).toHaveLength(3);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBe(4);
  });

  it("stops when it is told to", async () => {
    const tree = newTree("a/1.jpg", "b/1.jpg");
    const stop = new AbortController();
    const opening = openImageFolder(tree.path, {
      signal: stop.signal,
      onProgress: () => stop.abort(new Error("enough")),
    });
    await expect(opening).rejects.toThrow("enough");
  });
});

describe("the table of files", () => {
  it("gives paths to show and to open", async () => {
    const tree = newTree("a/ü/1.jpg");
    const { files } = await openImageFolder(tree.path);
    expect(files.length).toBe(1);
    expect(files.path(0)).toBe("a/ü/1.jpg");
    expect(files.absolute(0)).toBe(tree.at("a/ü/1.jpg"));
    for (const index of [-1, 1, 0.5]) expect(() => files.path(index)).toThrow(`file ${index} of 1`);
  });

  it("is shared with other threads, not copied", async () => {
    const { files } = await openImageFolder(newTree("a/1.jpg", "a/2.jpg").path);
    const code = `
      const { parentPort, workerData } = require("node:worker_threads");
      const offsets = new Uint32Array(workerData.offsets);
      const bytes = Buffer.from(workerData.bytes);
      parentPort.postMessage(bytes.toString("utf8", offsets[1], offsets[2]));
      bytes[offsets[2] - 5] = 57;`;
    const worker = new Worker(code, { eval: true, workerData: files.share() });
    const path = await new Promise((resolve) => worker.once("message", resolve));
    expect(path).toBe("a/2.jpg");
    await new Promise((resolve) => worker.once("exit", resolve));
    expect(FileTable.from(files.share()).path(1)).toBe("a/9.jpg");
  });
});

describe("what cannot be opened", () => {
  const refusalOf = async (path: string, options?: ImageFolderOptions, system?: FolderSystem) => {
    const { kind, message } = await failureOf(() => openImageFolder(path, options, system));
    expect(kind).toBe("file");
    expect(message).not.toContain("\n");
    return message;
  };

  it("is no folder", async () => {
    const { path, at } = newTree("file.jpg");
    expect(await refusalOf(at("none"))).toBe(`${path}/none: no such file or folder`);
    expect(await refusalOf(at("file.jpg"))).toBe(`${path}/file.jpg: is a file; expected a folder`);
  });

  it("has no class folders", async () => {
    const hint = "expected <class>/<image>, a folder for each class";
    const empty = newTree();
    expect(await refusalOf(empty.path)).toBe(`${empty.path}: no class folders in it: ${hint}`);
    const flat = newTree("1.jpg", "2.png", "notes.txt");
    expect(await refusalOf(flat.path)).toBe(
      `${flat.path}: no class folders in it; 2 images lie directly in it: ${hint}`,
    );
  });

  it("is a data set rather than a half of one", async () => {
    const { path } = newTree("train/cat/1.jpg", "val/cat/1.jpg");
    expect(await refusalOf(path)).toBe(
      `${path}: holds train/ and val/, each with class folders; name one of them`,
    );
    // But there may be classes with such names.
    const vehicles = newTree("train/1.jpg", "train/old/2.jpg", "test/1.jpg");
    expect((await openImageFolder(vehicles.path)).classes).toEqual(["test", "train"]);
  });

  it("has classes without images, unless that is allowed", async () => {
    const { path, add } = newTree("b/1.jpg", "a/", "c/text.txt");
    const images = ".jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp";
    expect(await refusalOf(path)).toBe(
      `${path}: no image in 2 of 3 class folders (a, c); remove them, or put images there (${images})`,
    );
    const folder = await openImageFolder(path, { allowEmpty: true });
    expect(folder.classes).toEqual(["a", "b", "c"]);
    expect(Array.from(folder.labels)).toEqual([1]);
    add("d/", "e\u001b[31m/", "f/");
    expect(await refusalOf(path)).toContain("5 of 6 class folders (a, c, d and 2 more)");
  });

  it("may not be read", async () => {
    const { path, at } = newTree("a/1.jpg", "b/secret/1.jpg");
    const guarded: FolderSystem = {
      ...fileSystem,
      list(folder) {
        if (!folder.endsWith("secret")) return fileSystem.list(folder);
        throw new RepkitError("file", `${folder}: permission denied`);
      },
    };
    expect(await refusalOf(path, {}, guarded)).toBe(`${at("b/secret")}: permission denied`);
  });

  it("vanishes meanwhile", async () => {
    const { path, at } = newTree("a/1.jpg");
    const vanishing: FolderSystem = {
      ...fileSystem,
      list: (folder) => fileSystem.list(folder === path ? folder : join(folder, "gone")),
    };
    expect(await refusalOf(path, {}, vanishing)).toBe(`${at("a/gone")}: no such file or folder`);
  });

  (process.platform === "linux" ? it : it.skip)("has names that are no text", async () => {
    const name = (...bytes: number[]) => Buffer.from(bytes);
    const within = (folder: string, file: Buffer) =>
      Buffer.concat([Buffer.from(`${folder}/`), file]);
    const { path, at } = newTree("a/1.jpg", "a/\ufffd.jpg");
    // Not an image, so nobody needs its name; and one that really is called U+FFFD.
    writeFileSync(within(at("a"), name(0xff, 0x2e, 0x74)), "");
    expect(pathsOf(await openImageFolder(path))).toEqual(["a/1.jpg", "a/\ufffd.jpg"]);
    writeFileSync(within(at("a"), name(0x62, 0xe9, 0x2e, 0x6a, 0x70, 0x67)), "");
    expect(await refusalOf(path)).toBe(
      `${at("a")}/b\ufffd.jpg: the name is not valid UTF-8; rename it`,
    );
  });
});
