import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "@jest/globals";

import { everywhere, layers } from "../scripts/layers.js";

const root = fileURLToPath(new URL("../src", import.meta.url));
const names = layers.map(({ name }) => name);

/** The layer that a path relative to src/ belongs to: its folder, or the file itself. */
const layerOf = (path: string) => path.split("/")[0]!.replace(/\.[jt]s$/, "");

/** Paths that a module imports, statically or dynamically, types included. */
function importsOf(source: string): string[] {
  const statements = /^\s*(?:import|export)\s(?:[^"'`;=()]*\sfrom\s*)?["']([^"']+)["']/gm;
  const calls = /\bimport\(\s*["']([^"']+)["']/g;
  return [...source.matchAll(statements), ...source.matchAll(calls)].map((match) => match[1]!);
}

/** Imports in `source`, the file `path` under src/, that the layer table does not allow. */
function forbiddenImports(path: string, source: string): string[] {
  const layer = layers.find(({ name }) => name === layerOf(path));
  const allowed = [layer?.name, ...(layer?.mayImport ?? []), ...everywhere];
  return importsOf(source).filter((name) => {
    if (/^repkit(\/|$)/.test(name)) return true; // the package's own name goes round the layers
    if (!name.startsWith(".")) return false;
    return !allowed.includes(layerOf(join(dirname(path), name)));
  });
}

const files = readdirSync(root, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
  .map((entry) => relative(root, join(entry.parentPath, entry.name)));

describe("the layer table", () => {
  test("knows everything directly under src/", () => {
    const entries = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() || entry.name.endsWith(".ts"))
      .map((entry) => layerOf(entry.name));
    expect(entries).not.toEqual([]);
    expect(entries.filter((name) => !names.includes(name))).toEqual([]);
  });

  test("names each layer once and lets it import only layers below", () => {
    expect(new Set(names).size).toBe(names.length);
    layers.forEach(({ name, mayImport }, position) => {
      const below = names.slice(position + 1);
      expect({ name, upwards: mayImport.filter((other) => !below.includes(other)) }).toEqual({
        name,
        upwards: [],
      });
    });
    expect(names.slice(-everywhere.length).sort()).toEqual([...everywhere].sort());
  });
});

describe("imports in src/", () => {
  test("are found", () => {
    const source = [
      'import "./a.js";',
      'import { b } from "./b.js";',
      'import type {\n  C,\n} from "./c.js";',
      'export * from "./d.js";',
      'const e = await import("./e.js");',
      'export function f() {\n  return from("not an import");\n}',
    ].join("\n");
    expect(importsOf(source)).toEqual(["./a.js", "./b.js", "./c.js", "./d.js", "./e.js"]);
  });

  test.each([
    ["graph/node.ts", "../zoo/index.js"],
    ["graph/deep/node.ts", "../../index.js"],
    ["reparam/rules/rule.ts", "../../blocks/index.js"],
    ["data/loader.ts", "../graph/index.js"],
    ["train/loop.ts", "../cli/main.js"],
    ["util/suggest.ts", "repkit/graph"],
  ])("would be refused: %s importing %s", (path, name) => {
    expect(forbiddenImports(path, `import { x } from "${name}";`)).toEqual([name]);
  });

  test("point down", () => {
    expect(files).not.toEqual([]);
    const found = files.map((path) => {
      const source = readFileSync(join(root, path), "utf8");
      return { path, forbidden: forbiddenImports(path, source) };
    });
    expect(found.filter(({ forbidden }) => forbidden.length > 0)).toEqual([]);
  });
});
