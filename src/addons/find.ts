/** Finds the build of an addon to load, and loads it. Nothing else opens a `.node` file. */
import { RepkitError } from "../errors.js";
import { type Addon, buildCommandOf } from "./addon.js";
import { type Build, cacheFolder, currentBuild, isUnchanged } from "./cache.js";
import { sourcesHash } from "./units.js";

/** What there is to load. */
export type AddonStatus =
  | { readonly kind: "ready"; readonly build: Build }
  | { readonly kind: "stale"; readonly build: Build; readonly problem: string }
  | { readonly kind: "missing" | "disabled"; readonly problem: string };

/**
 * The build that was made or asked for last. No process is started for it, so that loading takes
 * milliseconds: a build knows its library and is stale once that changes.
 */
export function findCurrent(addon: Addon, env: NodeJS.ProcessEnv = process.env): AddonStatus {
  const build = currentBuild(addon, cacheFolder(env));
  if (build === undefined) return { kind: "missing", problem: notBuilt(addon) };
  return checkBuild(addon, build, sourcesHash(addon.sources));
}

export function notBuilt({ name }: Addon): string {
  return `the ${name} addon is not built`;
}

/** Whether a build is still what its library and the sources, by their hash, say. */
export function checkBuild({ name }: Addon, build: Build, hash: string): AddonStatus {
  const { library, sourcesHash: builtFrom } = build.record;
  if (!isUnchanged(build.record)) {
    const problem = `${library.path}, which the ${name} addon was built against, is gone or has changed`;
    return { kind: "stale", build, problem };
  }
  if (builtFrom !== hash) {
    return { kind: "stale", build, problem: `the ${name} addon was built from other sources` };
  }
  return { kind: "ready", build };
}

/** Opens a build, once, and returns its exports. Throws an `environment` error with the way out. */
export function loadBuild(addon: Pick<Addon, "name">, { path }: Pick<Build, "path">): unknown {
  if (loaded.has(path)) return loaded.get(path);
  const module: { exports: unknown } = { exports: {} };
  try {
    process.dlopen(module, path);
  } catch (error) {
    const [reason = ""] = String(error instanceof Error ? error.message : error).split("\n");
    const problem = `the ${addon.name} addon does not load: ${reason.replace(/^Error: /, "")}`;
    throw new RepkitError("environment", `${problem}; run: ${buildCommandOf(addon)} --force`, {
      cause: error,
    });
  }
  loaded.set(path, module.exports);
  return module.exports;
}

const loaded = new Map<string, unknown>();
