/** Finds and loads the compiled addon; nothing is compiled here. */
import { availableParallelism, loadavg } from "node:os";
import { isMainThread } from "node:worker_threads";

import { type Build, cachedBuilds, cacheFolder } from "../../addons/cache.js";
import { isSamePath } from "../../addons/files.js";
import {
  type AddonStatus,
  checkBuild,
  findCurrent,
  loadBuild,
  notBuilt,
} from "../../addons/find.js";
import { sourcesHash } from "../../addons/units.js";
import { RepkitError } from "../../errors.js";
import { namedLibrary, NO_LIBTORCH } from "./discover.js";
import { BUILD_COMMAND } from "./mending.js";
import type { NativeAddon } from "./native.js";
import { TORCH_ADDON, torchAddon } from "./target.js";

export interface AddonOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Default: the sources of this package's addon. */
  readonly sources?: string;
}

/** The build to load: the current one, or the one for REPKIT_LIBTORCH. */
export function findBuild(options: AddonOptions = {}): AddonStatus {
  const { env = process.env } = options;
  const addon = torchAddon(options.sources);
  const named = namedLibrary(env);
  if (named === undefined) return findCurrent(addon, env);
  if (named.folder === NO_LIBTORCH) {
    return { kind: "disabled", problem: `${named.source} is "${NO_LIBTORCH}"` };
  }
  const hash = sourcesHash(addon.sources);
  const build = buildFor(named.folder, cacheFolder(env), hash);
  if (build !== undefined) return checkBuild(addon, build, hash);
  return {
    kind: "missing",
    problem: `${notBuilt(addon)} for ${named.source}=${named.folder}`,
  };
}

/** Opens the addon and returns its exports. Throws an `environment` error with the way out. */
export function loadAddon(options: AddonOptions = {}): unknown {
  const status = findBuild(options);
  if (status.kind === "disabled") throw environmentError(`no torch engine: ${status.problem}`);
  if (status.kind !== "ready") throw environmentError(`${status.problem}; run: ${BUILD_COMMAND}`);
  spareSharedCores(options.env);
  const addon = loadBuild(TORCH_ADDON, status.build);
  stopAtExit(addon as Pick<NativeAddon, "stopAll">);
  return addon;
}

let stopsAtExit = false;

/**
 * `process.exit` in the middle of a step would otherwise free what the step uses. A worker thread that
 * ends stops its own executables.
 */
function stopAtExit(addon: Pick<NativeAddon, "stopAll">): void {
  if (stopsAtExit || !isMainThread) return;
  stopsAtExit = true;
  process.on("exit", () => {
    addon.stopAll();
  });
}

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
  const builds = cachedBuilds(TORCH_ADDON, cache).filter(({ record }) =>
    isSamePath(record.root, root),
  );
  return builds.find(({ record }) => record.sourcesHash === hash) ?? builds[0];
}

function environmentError(message: string): RepkitError {
  return new RepkitError("environment", message);
}
