// Finding libjpeg-turbo, building against it, and what doctor says, with a library and an addon that hold nothing.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, jest, test } from "@jest/globals";

import { libraryFile } from "../../../src/addons/files.js";
import { JPEG_ADDON, jpegAddon } from "../../../src/data/jpeg/addon.js";
import { buildJpegAddon, ensureJpegAddon } from "../../../src/data/jpeg/build.js";
import { diagnoseJpeg } from "../../../src/data/jpeg/diagnosis.js";
import { discoverLibJpeg, inspectLibJpeg } from "../../../src/data/jpeg/library.js";
import {
  addLibraries,
  temporaryFolder,
  TINY_ADDON,
  withCompiler,
  writeTree,
} from "../../helpers/torch-trees.js";

jest.setTimeout(60_000); // compilers take their time on a busy machine

const folder = temporaryFolder();
let count = 0;
const newFolder = () => join(folder, String(count++));

const TURBO = "#define JPEG_LIB_VERSION  62\n#define LIBJPEG_TURBO_VERSION  2.1.5\n";

function fakeLibrary(files: Readonly<Record<string, string>> = {}): string {
  return writeTree(newFolder(), {
    [`lib/${libraryFile("jpeg")}`]: "",
    "include/jpeglib.h": "",
    "include/jerror.h": "",
    "include/jconfig.h": TURBO,
    ...files,
  });
}

describe("libjpeg-turbo", () => {
  test("is a library with its headers, which say the version", () => {
    const root = fakeLibrary();
    expect(inspectLibJpeg(root)).toEqual({
      library: {
        ...{ root, version: "2.1.5" },
        ...{ includeDirs: [join(root, "include")], libraryDir: join(root, "lib") },
      },
    });
  });

  test.each([
    ["is not libjpeg-turbo", { "include/jconfig.h": "#define JPEG_LIB_VERSION 90\n" }],
    ["2.0 or newer", { "include/jconfig.h": "#define LIBJPEG_TURBO_VERSION 1.5.3\n" }],
  ])("is refused where it %s", (reason, files) => {
    expect(inspectLibJpeg(fakeLibrary(files))).toMatchObject({
      reason: expect.stringContaining(reason) as unknown,
    });
  });

  test("is refused without headers, and without a library", () => {
    const root = fakeLibrary();
    rmSync(join(root, "include", "jerror.h"));
    const reason = `${root} has the library but no headers (include/jerror.h)`;
    expect(inspectLibJpeg(root)).toEqual({ reason });
    expect(inspectLibJpeg("/nowhere")).toEqual({
      reason: `/nowhere has no lib/${libraryFile("jpeg")}`,
    });
  });

  test("is looked for where REPKIT_LIBJPEG says and nowhere else", () => {
    const [first, second] = [fakeLibrary(), fakeLibrary()];
    const named = discoverLibJpeg({ env: { REPKIT_LIBJPEG: second }, prefixes: [first] });
    expect(named).toMatchObject([{ source: "REPKIT_LIBJPEG", library: { root: second } }]);
    const found = discoverLibJpeg({ env: {}, prefixes: ["/nowhere", "/nothing", first] });
    expect(found.map(({ source }) => source)).toEqual(["/nowhere", first]);
  });

  test("that is nowhere is one line with the command that installs it", async () => {
    const env = { REPKIT_CACHE: newFolder() };
    const build = buildJpegAddon({ env, prefixes: ["/nowhere"] });
    await expect(build).rejects.toMatchObject({
      ...{ kind: "environment", details: { reason: "no-library" } },
      message: expect.stringMatching(
        /^no libjpeg-turbo found \(\/nowhere has no .*\); run: \S/,
      ) as unknown,
    });
    const { ok, problems } = diagnoseJpeg({ env, prefixes: ["/nowhere"] });
    expect(ok).toBe(false);
    expect(problems[0]?.problem).toMatch(/^the jpeg addon is not built: \/nowhere has no lib/);
    expect(problems[0]?.fix).toMatch(/ && repkit build jpeg$/);
  });
});

withCompiler("the jpeg addon", () => {
  /** Sources, a library that links and an empty cache. */
  function workplace() {
    const root = addLibraries(fakeLibrary(), ["jpeg"]);
    const addon = { ...JPEG_ADDON, sources: writeTree(newFolder(), TINY_ADDON) };
    const env = {
      ...{ PATH: process.env["PATH"], REPKIT_LIBJPEG: root },
      ...{ REPKIT_CACHE: newFolder() },
    };
    return { addon, env, root };
  }

  test("is built once, found, loaded and diagnosed", async () => {
    const { addon, env, root } = workplace();
    const built = await buildJpegAddon({ addon, env });
    expect(built).toMatchObject({ isNew: true, record: { root, version: "2.1.5" } });
    expect(built.record).not.toHaveProperty("cuda");
    expect(built.folder).toMatch(/\/jpeg-2\.1\.5-linux-(x64|arm64)-[0-9a-f]{12}$/);
    expect(await buildJpegAddon({ addon, env })).toMatchObject({ isNew: false });
    expect((await ensureJpegAddon({ addon, env })).path).toBe(built.path);
    expect(jpegAddon(env, addon)).toHaveProperty("describe");
    expect(diagnoseJpeg({ addon, env })).toEqual({
      ...{ name: "jpeg", ok: true, version: "2.4.1", path: built.path, problems: [] },
    });
  });

  test("that is stale or damaged is not loaded, and doctor says why", async () => {
    const { addon, env } = workplace();
    const { path } = await buildJpegAddon({ addon, env });
    writeFileSync(path, "garbage");
    expect(jpegAddon(env, addon)).toBeUndefined();
    expect(diagnoseJpeg({ addon, env }).problems).toMatchObject([
      {
        problem: expect.stringContaining("the jpeg addon does not load: ") as unknown,
        fix: "repkit build jpeg --force",
      },
    ]);
    writeFileSync(join(addon.sources, "number.h"), "double number(); // longer\n");
    expect(jpegAddon(env, addon)).toBeUndefined();
    expect(diagnoseJpeg({ addon, env }).problems).toEqual([
      { problem: "the jpeg addon was built from other sources", fix: "repkit build jpeg" },
    ]);
    expect(diagnoseJpeg({ addon, env: { ...env, REPKIT_JPEG: "portable" } }).problems).toEqual([
      { problem: 'REPKIT_JPEG is "portable"', fix: "unset REPKIT_JPEG" },
    ]);
  });
});
