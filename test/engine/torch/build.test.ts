// The whole way from sources to a loaded addon, with a libtorch that holds nothing and an addon of two units.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

import { describe, expect, jest, test } from "@jest/globals";

import { prune } from "../../../src/addons/cache.js";
import { findBuild, loadAddon } from "../../../src/engine/torch/addon.js";
import { buildAddon, type BuildEvent, ensureAddon } from "../../../src/engine/torch/build.js";
import { TORCH_ADDON } from "../../../src/engine/torch/target.js";
import { RepkitError } from "../../../src/errors.js";
import {
  hasCompiler,
  linkableLibrary,
  temporaryFolder,
  TINY_ADDON,
  withCompiler,
  writeTree,
} from "../../helpers/torch-trees.js";

jest.setTimeout(60_000); // compilers and libraries take their time on a busy machine

const folder = temporaryFolder();
let count = 0;
const newFolder = () => join(folder, String(count++));

/** Sources, a library and an empty cache of a test's own. */
function workplace(files: Readonly<Record<string, string>> = TINY_ADDON) {
  const sources = writeTree(newFolder(), files);
  const library = linkableLibrary(newFolder());
  const cache = newFolder();
  const env: NodeJS.ProcessEnv = {
    PATH: process.env["PATH"],
    REPKIT_LIBTORCH: library,
    REPKIT_CACHE: cache,
  };
  return { sources, library, cache, env };
}

async function errorOf(run: () => unknown): Promise<RepkitError> {
  try {
    await run();
  } catch (error) {
    if (error instanceof RepkitError) return error;
    throw error;
  }
  throw new Error("did not throw");
}

withCompiler("a build", () => {
  test("says what it found and does, and loads", async () => {
    const { sources, library, cache, env } = workplace();
    const events: BuildEvent[] = [];
    const built = await buildAddon({ sources, env, onEvent: (event) => events.push(event) });
    expect(events.map(({ kind }) => kind)).toEqual(["looked", "compiling", "unit", "unit"]);
    expect(events[1]).toMatchObject({
      ...{ target: { library: { root: library }, title: "libtorch 2.4.1" } },
      ...{ units: 2, folder: built.folder },
    });
    expect(built).toMatchObject({ isNew: true, record: { root: library, version: "2.4.1" } });
    expect(built.folder).toMatch(/\/torch-2\.4\.1-linux-(x64|arm64)-[0-9a-f]{12}$/);
    expect(readdirSync(built.folder).sort()).toEqual([
      ...["build.json", "build.log", "repkit_torch.node"],
    ]);
    expect(readdirSync(cache).filter((name) => name.startsWith("."))).toEqual([]);
    const addon = loadAddon({ sources, env }) as { describe(): unknown };
    expect(addon.describe()).toEqual({ version: "2.4.1", cudaDevices: 0 });
    expect(loadAddon({ sources, env })).toBe(addon);
  });

  test("is not repeated, unless asked for", async () => {
    const { sources, env } = workplace();
    const first = await buildAddon({ sources, env });
    const events: BuildEvent[] = [];
    const options = { sources, env, onEvent: (event: BuildEvent) => void events.push(event) };
    expect(await buildAddon(options)).toMatchObject({ isNew: false, path: first.path });
    expect((await ensureAddon(options)).path).toBe(first.path);
    expect(events.map(({ kind }) => kind)).toEqual(["looked"]);
    expect(await buildAddon({ ...options, force: true })).toMatchObject({ isNew: true });
  });

  test("compiles again what has changed, and no more", async () => {
    const { sources, env } = workplace();
    const first = await buildAddon({ sources, env });
    const source = '#include "number.h"\ndouble number() { return 3; }\n';
    writeFileSync(join(sources, "number.cc"), source);
    const reused: Record<string, boolean> = {};
    const second = await buildAddon({
      ...{ sources, env },
      onEvent: (event) => {
        if (event.kind === "unit") reused[event.name] = event.isReused;
      },
    });
    expect(reused).toEqual({ addon: true, number: false });
    expect(second.path).not.toBe(first.path);
    const addon = loadAddon({ sources, env }) as { describe(): unknown };
    expect(addon.describe()).toMatchObject({ cudaDevices: 3 });
  });

  test("of a file for several instruction sets is one object each", async () => {
    const flags = (set: string) => [`-DNAME=${set}`];
    const { sources, env } = workplace({
      ...TINY_ADDON,
      "sets.cc": "int NAME() { return 1; }\n",
      "sources.json": JSON.stringify({
        kernels: {
          files: ["sets.cc"],
          flags: [],
          instructionSets: { [process.arch]: { plain: flags("plain"), fast: flags("fast") } },
        },
      }),
    });
    const units: string[] = [];
    await buildAddon({
      ...{ sources, env },
      onEvent: (event) => event.kind === "unit" && units.push(event.name),
    });
    expect(units.sort()).toEqual(["addon", "number", "sets.fast", "sets.plain"]);
  });

  test("beside another one of the same waits for it and does nothing", async () => {
    const { sources, env, cache } = workplace();
    const kinds: string[] = [];
    const onEvent = ({ kind }: BuildEvent) => void kinds.push(kind);
    const builds = await Promise.all([1, 2, 3].map(() => buildAddon({ sources, env, onEvent })));
    expect(new Set(builds.map(({ path }) => path)).size).toBe(1);
    expect(builds.filter(({ isNew }) => isNew)).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "waiting")).toHaveLength(2);
    expect(kinds.filter((kind) => kind === "unit")).toHaveLength(2);
    expect(readdirSync(cache).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("whose lock a dead process has left goes ahead", async () => {
    const { sources, env, cache } = workplace();
    const { folder: place } = await buildAddon({ sources, env });
    const { pid } = spawnSync("true");
    writeTree(cache, { [`.lock-${basename(place)}`]: String(pid) });
    expect(await buildAddon({ sources, env, force: true })).toMatchObject({ isNew: true });
    expect(readdirSync(cache).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("that does not compile is one line, with the log of all of it", async () => {
    const { sources, env, cache } = workplace({
      ...TINY_ADDON,
      "number.cc": "int f() { return g; }\n",
    });
    const { kind, message, details } = await errorOf(() => buildAddon({ sources, env }));
    expect({ kind, details }).toEqual({ kind: "environment", details: { reason: "compile" } });
    const [, log] = /log: (.*)$/.exec(message) ?? [];
    expect(message).toContain("the addon does not compile against libtorch 2.4.1: ");
    expect(message).toMatch(/number\.cc:1:18: error: .*g.* was not declared/);
    expect(message).not.toContain("\n");
    expect(readFileSync(log!, "utf8")).toMatch(/^\$ c\+\+ -std=c\+\+17[^]*number\.cc:1:18: error/);
    expect(readdirSync(cache).filter((name) => /^\.|-[0-9a-f]{12}$/.test(name))).toEqual([]);
    expect(findBuild({ sources, env }).kind).toBe("missing");
  });

  test("that does not link is one line too", async () => {
    const { sources, library, env } = workplace();
    writeFileSync(join(library, "lib", "libtorch.so"), "not a library");
    const { message } = await errorOf(() => buildAddon({ sources, env }));
    expect(message).toContain("the addon does not link against libtorch 2.4.1: ");
    expect(message).toContain("libtorch.so: file format not recognized");
  });
});

describe("without a compiler", () => {
  test("the command that installs one is said", async () => {
    const { sources, env } = hasCompiler ? workplace() : { sources: folder, env: {} };
    const bin = writeTree(newFolder(), { ".keep": "" });
    const { kind, message } = await errorOf(() =>
      buildAddon({ sources, env: { ...env, PATH: bin } }),
    );
    expect(kind).toBe("environment");
    if (!hasCompiler) return;
    expect(message).toMatch(/^no C\+\+ compiler found \(c\+\+, g\+\+, clang\+\+\); run: .*g\+\+/);
  });
});

withCompiler("what is built", () => {
  test("is stale once the sources change", async () => {
    const { sources, env } = workplace();
    await buildAddon({ sources, env });
    writeFileSync(join(sources, "number.h"), "double number(); // longer\n");
    expect(findBuild({ sources, env })).toMatchObject({ kind: "stale" });
    expect((await errorOf(() => loadAddon({ sources, env }))).message).toBe(
      "the torch addon was built from other sources; run: repkit build torch",
    );
    await ensureAddon({ sources, env });
    expect(findBuild({ sources, env }).kind).toBe("ready");
  });

  test("is stale once its library changes or goes", async () => {
    const { sources, library, env } = workplace();
    await buildAddon({ sources, env });
    const file = join(library, "lib", "libtorch_cpu.so");
    utimesSync(file, 0, 1);
    const problem = `${file}, which the torch addon was built against, is gone or has changed`;
    expect(findBuild({ sources, env })).toMatchObject({ kind: "stale", problem });
    rmSync(file);
    expect(findBuild({ sources, env })).toMatchObject({ kind: "stale", problem });
  });

  test("stays current without REPKIT_LIBTORCH, and is found again by its library", async () => {
    const { sources, env, cache } = workplace();
    const first = await buildAddon({ sources, env });
    const other = linkableLibrary(newFolder());
    const second = await buildAddon({ sources, env, libtorch: other });
    expect(second.path).not.toBe(first.path);
    const path = (libtorch: string | undefined) => {
      const status = findBuild({
        sources,
        env: { REPKIT_CACHE: cache, REPKIT_LIBTORCH: libtorch },
      });
      return "build" in status ? status.build.path : status.kind;
    };
    expect(path(undefined)).toBe(second.path);
    expect(path(other)).toBe(second.path);
    expect(path(env["REPKIT_LIBTORCH"])).toBe(first.path);
    expect(path(folder)).toBe("missing");
    expect(path("none")).toBe("disabled");
  });

  test("that is damaged is an environment error with the way out", async () => {
    const { sources, env } = workplace();
    const { path } = await buildAddon({ sources, env });
    writeFileSync(path, "garbage");
    const { kind, message } = await errorOf(() => loadAddon({ sources, env }));
    expect(kind).toBe("environment");
    expect(message).toMatch(/^the torch addon does not load: .*; run: repkit build torch --force$/);
    await buildAddon({ sources, env, force: true });
    expect(loadAddon({ sources, env })).toHaveProperty("describe");
  });

  test("goes with --clean, but for the current build", async () => {
    const { sources, env, cache } = workplace();
    const first = await buildAddon({ sources, env });
    writeFileSync(join(sources, "number.cc"), "double number() { return 1; }\n");
    const second = await buildAddon({ sources, env });
    const other = "jpeg-2.1.5-linux-x64-0123456789ab"; // another addon's
    writeTree(cache, { "mine.txt": "", ".build-1-x/half": "", "torch-objects/old.o": "" });
    writeTree(join(cache, other), { "build.json": "{}" });
    for (const name of [".build-1-x", "torch-objects/old.o"]) utimesSync(join(cache, name), 0, 1);
    expect(prune(TORCH_ADDON, cache, second.folder.slice(cache.length + 1))).toBeGreaterThan(1000);
    expect(existsSync(first.folder)).toBe(false);
    expect(existsSync(second.path)).toBe(true);
    expect(readdirSync(cache).sort()).toEqual([
      ...[other, "mine.txt", second.folder.slice(cache.length + 1), "torch-objects", "torch.json"],
    ]);
    expect(existsSync(join(cache, "torch-objects", "old.o"))).toBe(false);
    expect((await buildAddon({ sources, env })).isNew).toBe(false);
  });
});

describe("the cache", () => {
  test("with nothing in it: not built, and the command", async () => {
    const env = { REPKIT_CACHE: newFolder() };
    expect((await errorOf(() => loadAddon({ env }))).message).toBe(
      "the torch addon is not built; run: repkit build torch",
    );
    writeTree(env.REPKIT_CACHE, { "torch.json": "{", "torch-1.0-x-0123456789ab/build.json": "[" });
    expect(findBuild({ env }).kind).toBe("missing");
  });
});
