import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

import { describe, expect, test } from "@jest/globals";

import { cacheFolder, publish, temporaryFolder as newBuildFolder } from "../../src/addons/cache.js";
import { temporaryFolder, writeTree } from "../helpers/torch-trees.js";

const folder = temporaryFolder();

describe("the cache", () => {
  test("is REPKIT_CACHE, else in XDG_CACHE_HOME, else in ~/.cache", () => {
    expect(cacheFolder({ REPKIT_CACHE: "/a", XDG_CACHE_HOME: "/b" })).toBe("/a");
    expect(cacheFolder({ XDG_CACHE_HOME: "/b" })).toBe("/b/repkit");
    expect(cacheFolder({})).toMatch(/\/\.cache\/repkit$/);
  });

  test("replaces a build by another one as a whole", () => {
    const cache = join(folder, "cache");
    const place = join(cache, "torch-1.0-0123456789ab");
    for (const text of ["first", "second"]) {
      const temporary = writeTree(newBuildFolder(cache), { "build.json": text });
      publish(temporary, place);
      expect(readFileSync(join(place, "build.json"), "utf8")).toBe(text);
    }
    expect(readdirSync(cache)).toEqual([basename(place)]);
  });
});
