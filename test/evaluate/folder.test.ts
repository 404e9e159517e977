// Which images a model is tested on, and what their labels mean to it.

import { describe, expect, test } from "@jest/globals";

import { openTestFolder } from "../../src/evaluate/folder.js";
import { failureOf } from "../helpers/failures.js";
import { temporaryTrees } from "../helpers/trees.js";

const newTree = temporaryTrees();
const options = { index: false };
const unnamed = (numClasses: number) => ({ numClasses, classNames: undefined });
const named = (...classNames: string[]) => ({ numClasses: classNames.length, classNames });

async function open(path: string, model: Parameters<typeof openTestFolder>[1]) {
  const { folder, notes } = await openTestFolder(path, model, options);
  const files = Array.from({ length: folder.files.length }, (_, i) => folder.files.path(i));
  return { root: folder.root, files, labels: [...folder.labels], notes };
}

describe("which folder", () => {
  test("val/ of a data set", async () => {
    const { path, at } = newTree("train/cat/1.png", "val/cat/2.png", "val/dog/3.png");
    expect(await open(path, unnamed(2))).toEqual({
      ...{ root: at("val"), files: ["cat/2.png", "dog/3.png"], labels: [0, 1], notes: [] },
    });
  });

  test("otherwise its class folders", async () => {
    const { path } = newTree("dog/1.png", "cat/1.png", "cat/deeper/2.png");
    expect(await open(path, unnamed(2))).toMatchObject({
      ...{ root: path, files: ["cat/1.png", "cat/deeper/2.png", "dog/1.png"], labels: [0, 0, 1] },
    });
  });

  test("training images are not what one tests on", async () => {
    const { path } = newTree("train/cat/1.png", "validation/cat/1.png");
    const { kind, message } = await failureOf(() => open(path, unnamed(1)));
    expect([kind, message]).toEqual(["file", expect.stringContaining("did you mean validation/?")]);
  });

  test("a folder that does not exist", async () => {
    const { at } = newTree();
    const { kind, message } = await failureOf(() => open(at("gone"), unnamed(1)));
    expect([kind, message]).toEqual(["file", `${at("gone")}: no such file or folder`]);
  });
});

describe("what labels mean", () => {
  test("names decide, not the order of the folders", async () => {
    const { path } = newTree("ant/1.png", "bee/1.png", "cow/1.png");
    expect(await open(path, named("cow", "ant", "bee"))).toMatchObject({
      ...{ labels: [1, 2, 0], notes: [] },
    });
  });

  test("of a part of the classes, also by name", async () => {
    const { path } = newTree("bee/1.png", "cow/1.png");
    expect(await open(path, named("ant", "cow", "bee"))).toMatchObject({
      labels: [2, 1],
      notes: ["the model has 3 classes, 2 of them are in the folder"],
    });
  });

  test("classes that the model does not know are named", async () => {
    const { path } = newTree("ant/1.png", "yak/1.png");
    const { kind, message } = await failureOf(() => open(path, named("ant", "bee")));
    expect([kind, message]).toEqual([
      "file",
      `${path}: 1 class that the model does not have (yak); remove it or rename it`,
    ]);
  });

  test("without names there must be no more folders than classes", async () => {
    const { path } = newTree("ant/1.png", "bee/1.png", "cow/1.png");
    const { kind, message } = await failureOf(() => open(path, unnamed(2)));
    expect([kind, message]).toEqual([
      "file",
      `${path}: 3 class folders, but the model has 2 classes; test it on those it was trained for`,
    ]);
  });

  test("without names and with fewer folders: what that means is said", async () => {
    const { path } = newTree("ant/1.png", "bee/1.png");
    expect(await open(path, unnamed(1000))).toMatchObject({
      labels: [0, 1],
      notes: [
        "the model has 1000 classes, 2 of them are in the folder; the weights name no classes, so " +
          "the folders count as the first, in sorted order",
      ],
    });
  });
});
