import { existsSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "@jest/globals";

const path = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const read = (name: string) => readFileSync(path(name), "utf8");

interface Manifest {
  type: string;
  engines: { node: string };
  bin: Record<string, string>;
  files: string[];
  scripts: Record<string, string>;
  exports: Record<string, string | Record<string, string>>;
}
const manifest = JSON.parse(read("package.json")) as Manifest;

describe("exports", () => {
  const entries = Object.entries(manifest.exports).filter(([name]) => name !== "./package.json");

  test("there are some, the package itself among them", () => {
    expect(entries.map(([name]) => name)).toContain(".");
    expect(manifest.exports["./package.json"]).toBe("./package.json");
  });

  test.each(entries)("%s has types, code and a source", (_name, target) => {
    // Types come first: conditions are tried in order.
    expect(Object.keys(target)).toEqual(["types", "default"]);
    const { types, default: code } = target as { types: string; default: string };
    const built = /^\.\/dist\/(.+)\.js$/.exec(code);
    expect(built).not.toBeNull();
    expect(types).toBe(`./dist/${built![1]}.d.ts`);
    expect(existsSync(path(`src/${built![1]}.ts`))).toBe(true);
  });

  test("every entry point of a folder is ./folder", () => {
    for (const [name, target] of entries) {
      const folder = name === "." ? "" : `${name.slice(2)}/`;
      expect(target).toHaveProperty("default", `./dist/${folder}index.js`);
    }
  });
});

describe("files", () => {
  const missingForNow = ["dist"]; // built

  test("are plain names at the root, each once", () => {
    expect(new Set(manifest.files).size).toBe(manifest.files.length);
    for (const name of manifest.files) expect(name).toMatch(/^[A-Za-z][A-Za-z0-9.]*$/);
  });

  test("exist, apart from what is built", () => {
    const absent = manifest.files.filter((name) => !existsSync(path(name)));
    expect(missingForNow).toEqual(expect.arrayContaining(absent));
  });

  test("hold the launcher, the build, the addon's sources and the papers, but neither src nor tests", () => {
    expect(manifest.files).toEqual(
      expect.arrayContaining(["bin", "dist", "native", "README.md", "CHANGELOG.md", "LICENSE"]),
    );
    for (const name of ["src", "test", "scripts"]) expect(manifest.files).not.toContain(name);
  });
});

describe("the launcher", () => {
  const launcher = manifest.bin["repkit"]!;

  test("is an executable script", () => {
    expect(statSync(path(launcher)).mode & 0o111).toBe(0o111);
    expect(read(launcher)).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  test("asks for the Node version that engines states", () => {
    const [, major, minor] = /^>=(\d+)\.(\d+)$/.exec(manifest.engines.node)!;
    expect(read(launcher)).toContain(`{ major: ${major}, minor: ${minor} }`);
  });
});

test("installing compiles nothing", () => {
  const { scripts } = manifest;
  for (const name of ["preinstall", "install", "postinstall"]) {
    expect(Object.keys(scripts)).not.toContain(name);
  }
  expect(JSON.stringify(scripts)).not.toContain("build torch");
  expect(existsSync(path("binding.gyp"))).toBe(false); // npm would run node-gyp by itself
});

test("the package is ESM", () => {
  expect(manifest.type).toBe("module");
});

test("the lock file names no registry", () => {
  expect(read("package-lock.json")).not.toContain('"resolved"');
});
