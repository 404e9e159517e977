// The two halves of a data set.

import { describe, expect, it } from "@jest/globals";

import {
  checkSameClasses,
  openDataset,
  openImageFolder,
  relabel,
} from "../../../src/data/folder/index.js";
import { failureOf } from "../../helpers/failures.js";
import { temporaryTrees } from "../../helpers/trees.js";
import { pathsOf } from "./support.js";

const newTree = temporaryTrees();
const options = { index: false };

describe("openDataset", () => {
  it("opens the half that is asked for", async () => {
    const { path } = newTree("train/a/1.jpg", "val/a/2.jpg");
    expect(pathsOf(await openDataset(path, "train", options))).toEqual(["a/1.jpg"]);
    expect(pathsOf(await openDataset(path, "val", options))).toEqual(["a/2.jpg"]);
  });

  it.each([
    ["validation", "val"],
    ["Valid", "val"],
    ["test", "val"],
    ["VAL", "val"],
    ["Training", "train"],
  ] as const)("asks whether %s/ is meant by %s", async (name, split) => {
    const { path } = newTree(`${name}/a/1.jpg`);
    const { kind, message } = await failureOf(() => openDataset(path, split, options));
    expect(kind).toBe("file");
    expect(message).toBe(
      `${path}: no folder ${split}/ in it; did you mean ${name}/? Rename it, or link to it: ln -s ${name} ${path}/${split}`,
    );
  });

  it("says what it expects where there is nothing alike", async () => {
    const { path, at } = newTree("cat/1.jpg", "dev.txt");
    expect((await failureOf(() => openDataset(path, "val", options))).message).toBe(
      `${path}: no folder val/ in it; expected train/<class>/<image> and val/<class>/<image>`,
    );
    expect((await failureOf(() => openDataset(at("none"), "val", options))).message).toBe(
      `${at("none")}: no such file or folder; to draw images to try things on: repkit sample-data ${at("none")}`,
    );
  });
});

describe("the classes of both halves", () => {
  const halves = async (...names: string[]) => {
    const { path } = newTree(...names);
    return {
      path,
      train: await openDataset(path, "train", options),
      val: await openDataset(path, "val", options),
    };
  };

  it("may be the same, or fewer in val", async () => {
    const same = await halves("train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/1.jpg");
    expect(checkSameClasses(same.train, same.val)).toEqual([]);
    const fewer = await halves("train/a/1.jpg", "train/b/1.jpg", "val/b/1.jpg", "val/b/2.jpg");
    expect(checkSameClasses(fewer.train, fewer.val)).toEqual(["a"]);
    expect(Array.from(fewer.val.labels)).toEqual([0, 0]);
    const relabelled = relabel(fewer.val, fewer.train.classes);
    expect(relabelled.classes).toEqual(["a", "b"]);
    expect(Array.from(relabelled.labels)).toEqual([1, 1]);
    expect(pathsOf(relabelled)).toEqual(["b/1.jpg", "b/2.jpg"]);
  });

  it("may not be more in val", async () => {
    const { path, train, val } = await halves(
      "train/a/1.jpg",
      ...["a", "b"].map((c) => `val/${c}/1.jpg`),
    );
    const { kind, message } = await failureOf(() => checkSameClasses(train, val));
    expect(kind).toBe("file");
    expect(message).toBe(
      `${path}/val: 1 class that ${path}/train does not have (b); remove it or rename it`,
    );
  });

  it("are put in a model's order", async () => {
    const { path } = newTree("a/1.jpg", "b/1.jpg", "b/2.jpg", "c/1.jpg");
    const folder = await openImageFolder(path, options);
    expect(Array.from(relabel(folder, ["c", "x", "b", "a"]).labels)).toEqual([3, 2, 2, 0]);
    expect((await failureOf(() => relabel(folder, ["c", "b", "x"]))).message).toContain(
      "1 class that the model does not have (a)",
    );
  });
});
