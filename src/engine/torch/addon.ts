/** Loads the compiled addon. Nothing else opens a `.node` file, and nothing is compiled here. */
import { availableParallelism, loadavg } from "node:os";

import { RepkitError } from "../../errors.js";
import { type Build, cachedBuilds, cacheFolder, currentBuild, isUnchanged } from "./cache.js";
import { namedLibrary, NO_LIBTORCH } from "./discover.js";
import { isSamePath } from "./library.js";
import { BUILD_COMMAND } from "./mending.js";
import { ADDON_SOURCES } from "./package.js";
import { sourcesHash } from "./units.js";

export interface AddonOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Default: the sources of this package's addon. */
  readonly sources?: string;
}

/** What there is to load. */
export type AddonStatus =
  | { readonly kind: "ready"; readonly build: Build }
  | { readonly kind: "stale"; readonly build: Build; readonly problem: string }
  | { readonly kind: "missing" | "disabled"; readonly problem: string };

/**
 * The build to load: the current one, or the one for REPKIT_LIBTORCH. No process is started for it, so
 * that loading takes milliseconds: a build knows its library and is stale once that changes.
 */
export function findBuild(options: AddonOptions = {}): AddonStatus {
  const { env = process.env, sources = ADDON_SOURCES } = options;
  const cache = cacheFolder(env);
  const named = namedLibrary(env);
  if (named?.folder === NO_LIBTORCH) {
    return { kind: "disabled", problem: `${named.source} is "${NO_LIBTORCH}"` };
  }
  const hash = sourcesHash(sources);
  const build = named === undefined ? currentBuild(cache) : buildFor(named.folder, cache, hash);
  if (build === undefined) {
    const target = named === undefined ? "" : ` for ${named.source}=${named.folder}`;
    return { kind: "missing", problem: `the torch addon is not built${target}` };
  }
  const { library, sourcesHash: builtFrom } = build.record;
  if (!isUnchanged(build.record)) {
    const problem = `${library.path}, which the torch addon was built against, is gone or has changed`;
    return { kind: "stale", build, problem };
  }
  if (builtFrom !== hash) {
    return { kind: "stale", build, problem: "the torch addon was built from other sources" };
  }
  return { kind: "ready", build };
}

/** Opens the addon and returns its exports. Throws an `environment` error with the way out. */
export function loadAddon(options: AddonOptions = {}): unknown {
  const status = findBuild(options);
  if (status.kind === "disabled") throw environmentError(`no torch engine: ${status.problem}`);
  if (status.kind !== "ready") throw environmentError(`${status.problem}; run: ${BUILD_COMMAND}`);
  const { path } = status.build;
  const known = loaded.get(path);
  if (known !== undefined) return known;
  spareSharedCores(options.env);
  const addon: { exports: unknown } = { exports: {} };
  try {
    process.dlopen(addon, path);
  } catch (error) {
    const [reason = ""] = String(error instanceof Error ? error.message : error).split("\n");
    const problem = `the torch addon does not load: ${reason.replace(/^Error: /, "")}`;
    throw environmentError(`${problem}; run: ${BUILD_COMMAND} --force`, error);
  }
  loaded.set(path, addon.exports);
  return addon.exports;
}

const loaded = new Map<string, unknown>();

/**
 * Lets OpenMP's threads sleep soon at a barrier where the cores are shared. By default they spin, and
 * beside one busy process a training step then takes five to fifteen times as long; on a machine of its
 * own the short spin costs up to a fifth (measured, docs/engines.md). Has to be said before libgomp is
 * loaded, which the addon does; whatever the user has set stays. Returns whether it was said.
 */
export function spareSharedCores(
  env: NodeJS.ProcessEnv = process.env,
  load: number = loadavg()[0]!,
  cores: number = availableParallelism(),
): boolean {
  const isSaid = env["OMP_WAIT_POLICY"] !== undefined || env["GOMP_SPINCOUNT"] !== undefined;
  const said = env["REPKIT_SHARED_CPU"] ?? "";
  const isShared = said === "" ? load > 0.5 * cores : said !== "0";
  if (isSaid || !isShared) return false;
  env["GOMP_SPINCOUNT"] = "10000";
  return true;
}

/** Of the builds for this library, the one from these sources, else the newest. */
function buildFor(root: string, cache: string, hash: string): Build | undefined {
  const builds = cachedBuilds(cache).filter(({ record }) => isSamePath(record.root, root));
  return builds.find(({ record }) => record.sourcesHash === hash) ?? builds[0];
}

function environmentError(message: string, cause?: unknown): RepkitError {
  return new RepkitError("environment", message, cause === undefined ? {} : { cause });
}
