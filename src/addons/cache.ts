/** Where compiled addons are kept: `<name>-<version>-<platform>-<arch>-<hash>/`, one for each way to build one. */
import { createHash } from "node:crypto";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";

import type { Addon, Target } from "./addon.js";

const RECORD = "build.json";

/** A file as it was when the addon was built against it. */
export interface FileStamp {
  readonly path: string;
  readonly bytes: number;
  readonly modified: number;
}

/** `build.json` beside an addon: what it was built from. */
export interface BuildRecord {
  readonly version: string;
  readonly root: string;
  /** CUDA's version, where the library may have it. */
  readonly cuda?: string | null;
  readonly compiler: string;
  readonly library: FileStamp;
  readonly sourcesHash: string;
  readonly built: string;
  readonly seconds: number;
}

export interface Build {
  readonly folder: string;
  /** The addon itself. */
  readonly path: string;
  readonly record: BuildRecord;
}

export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const own = env["REPKIT_CACHE"] ?? "";
  if (own !== "") return own;
  const shared = env["XDG_CACHE_HOME"] ?? "";
  return join(shared === "" ? join(homedir(), ".cache") : shared, "repkit");
}

/** Where builds are kept, for people. */
export interface CacheReport {
  readonly path: string;
  /** Of the file system that it is on. */
  readonly free_bytes: number;
  /** Null where files can be made there. */
  readonly problem: string | null;
}

/** Looks at the folder, or at the one in which it would be made. */
export function describeCache(env: NodeJS.ProcessEnv = process.env): CacheReport {
  const path = cacheFolder(env);
  let there = resolve(path);
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  const { bavail, bsize } = statfsSync(there);
  return { path, free_bytes: bavail * bsize, problem: whyNotWritable(there) };
}

function whyNotWritable(path: string): string | null {
  try {
    accessSync(path, constants.W_OK);
    return statSync(path).isDirectory() ? null : `${path} is not a folder`;
  } catch {
    return `${path} cannot be written to`;
  }
}

/** The name of a build's folder. `ingredients` is whatever else the addon's bytes depend on. */
export function buildName(target: Target, ingredients: readonly string[]): string {
  const { addon, library } = target;
  const { path, ...stamp } = stampOf(target);
  const hash = createHash("sha256")
    .update(JSON.stringify([library, path, stamp, ingredients]))
    .digest("hex");
  const version = library.version.replace(/[^\w.+]/g, "_");
  return `${addon.name}-${version}-${process.platform}-${process.arch}-${hash.slice(0, 12)}`;
}

/** The library file that the addon is linked to, as it is now. */
export function stampOf({ libraryFile }: Pick<Target, "libraryFile">): FileStamp {
  return stamp(realpathSync(libraryFile));
}

/** Whether the library that a build is linked to is still the same. */
export function isUnchanged({ library }: BuildRecord): boolean {
  if (!existsSync(library.path)) return false;
  const { bytes, modified } = stamp(library.path);
  return bytes === library.bytes && modified === library.modified;
}

/** All complete builds of the addon for this machine, the newest first. */
export function cachedBuilds(addon: Addon, cache: string): readonly Build[] {
  return buildFolders(addon, cache)
    .filter((name) => name.includes(`-${process.platform}-${process.arch}-`))
    .flatMap((name) => readBuild(addon, join(cache, name)) ?? [])
    .sort((a, b) => b.record.built.localeCompare(a.record.built));
}

/** The build that was made or asked for last. */
export function currentBuild(addon: Addon, cache: string): Build | undefined {
  const pointer = readJson(join(cache, pointerFile(addon))) as { build?: unknown } | undefined;
  return typeof pointer?.build === "string"
    ? readBuild(addon, join(cache, pointer.build))
    : undefined;
}

export function makeCurrent(addon: Addon, cache: string, name: string): void {
  const temporary = temporaryPath(cache, pointerFile(addon));
  writeFileSync(temporary, `${JSON.stringify({ build: name })}\n`);
  renameSync(temporary, join(cache, pointerFile(addon)));
}

export function readBuild(addon: Addon, folder: string): Build | undefined {
  const path = join(folder, moduleFile(addon));
  const record = readJson(join(folder, RECORD)) as BuildRecord | undefined;
  return record === undefined || !existsSync(path) ? undefined : { folder, path, record };
}

/** The addon's file in a build's folder. */
export function moduleFile({ moduleName }: Addon): string {
  return `${moduleName}.node`;
}

export function writeRecord(folder: string, record: BuildRecord): void {
  writeFileSync(join(folder, RECORD), `${JSON.stringify(record, null, 2)}\n`);
}

/** A new folder for a build under way; nothing looks into it until it is published. */
export function temporaryFolder(cache: string): string {
  const folder = temporaryPath(cache, "build");
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Puts a finished folder in place in one step, instead of the one that may be there. */
export function publish(temporary: string, folder: string): void {
  for (let attempt = 0; ; attempt++) {
    try {
      renameSync(temporary, folder);
      return;
    } catch (error) {
      // Somebody else's build, or an old one; another may come between the two steps.
      const { code } = error as NodeJS.ErrnoException;
      if ((code !== "ENOTEMPTY" && code !== "EEXIST") || attempt === 10) throw error;
      const old = temporaryPath(join(folder, ".."), "old");
      renameSync(folder, old);
      rmSync(old, { recursive: true, force: true });
    }
  }
}

/** Removes the addon's other builds and what is left over of old ones. Returns the bytes that this freed. */
export function prune(addon: Addon, cache: string, keep: string): number {
  const objects = objectFolder(addon, cache);
  const paths = [
    ...buildFolders(addon, cache).filter((name) => name !== keep),
    ...leftovers(cache).filter((name) => /^\.(build|old)-\d+-/.test(name)),
  ]
    .map((name) => join(cache, name))
    .concat(leftovers(objects).map((name) => join(objects, name)));
  const bytes = paths.reduce((sum, path) => sum + bytesIn(path), 0);
  for (const path of paths) rmSync(path, { recursive: true, force: true });
  return bytes;
}

export function objectFolder({ name }: Addon, cache: string): string {
  return join(cache, `${name}-objects`);
}

/** A name that no other process uses. */
export function temporaryPath(folder: string, name: string): string {
  const random = Math.random().toString(36).slice(2, 10);
  return join(folder, `.${name}-${process.pid}-${random}`);
}

/** Says which build is current. */
function pointerFile({ name }: Addon): string {
  return `${name}.json`;
}

function buildFolders(addon: Addon, cache: string): string[] {
  const isOwn = new RegExp(`^${addon.name}-\\d.*-[0-9a-f]{12}$`);
  return entries(cache).filter((name) => isOwn.test(name));
}

/** What no build has touched for an hour: the younger may belong to one that is under way. */
function leftovers(folder: string): string[] {
  const hourAgo = Date.now() - 3600_000;
  return entries(folder).filter((name) => statSync(join(folder, name)).mtimeMs < hourAgo);
}

function entries(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function stamp(path: string): FileStamp {
  const { size, mtimeMs } = statSync(path);
  return { path, bytes: size, modified: Math.round(mtimeMs) };
}

function bytesIn(path: string): number {
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.size;
  return readdirSync(path).reduce((sum, name) => sum + bytesIn(join(path, name)), 0);
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined; // absent, or of a version that wrote something else
  }
}
