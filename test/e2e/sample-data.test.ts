// `repkit sample-data`: writes a data set, says so, and leaves nothing half done.

import { readdirSync } from "node:fs";

import { describe, expect, it } from "@jest/globals";

import { repkit } from "../helpers/cli.js";
import { repkitUntil } from "../helpers/kill.js";
import { temporaryTrees } from "../helpers/trees.js";

const newTree = temporaryTrees();
const SMALL = ["--classes", "2", "--train", "3", "--val", "1"];

describe("sample-data", () => {
  it("writes a data set and says what it consists of", () => {
    const { at } = newTree();
    const { code, stdout, stderr } = repkit("sample-data", at("data"), ...SMALL, "--json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const document = JSON.parse(stdout) as Record<string, unknown>;
    expect(Object.keys(document)).toEqual(["dir", "classes", "train", "val", "bytes", "seconds"]);
    expect(document).toMatchObject({ dir: at("data"), classes: 2, train: 6, val: 2 });
    expect(readdirSync(at("data/train/circle"))).toHaveLength(3);

    const again = repkit("sample-data", at("data"), ...SMALL);
    expect(again).toEqual({
      code: 3,
      stdout: "",
      stderr: `error: ${at("data")}: is not empty; name a folder that does not exist yet\n`,
    });
  });

  it("tells people in one line", () => {
    const { at } = newTree();
    const { code, stdout } = repkit("sample-data", at("data"), ...SMALL, "--seed", "3");
    expect(code).toBe(0);
    expect(
      stdout.startsWith(`${at("data")}: 6 training and 2 validation images of 2 classes, `),
    ).toBe(true);
    expect(stdout).toMatch(/^.* kB, in \d+\.\d s\n$/);
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("leaves nothing after %s", async (signal, expected) => {
    const { path } = newTree();
    const moment = { file: /^\.repkit-/, in: path };
    const { code } = await repkitUntil(moment, signal, "sample-data", path, "--train", "500");
    expect(code).toBe(expected);
    expect(readdirSync(path)).toEqual([]);
  });
});
