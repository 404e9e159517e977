/** `repkit build torch`: finds a libtorch and compiles the addon against it. */
import {
  type BuildEvent as AnyBuildEvent,
  type BuildOptions as AnyBuildOptions,
  type BuildOutcome,
  buildTarget,
} from "../../addons/build.js";
import type { Build } from "../../addons/cache.js";
import { findBuild } from "./addon.js";
import { discoverLibrary, requireLibrary } from "./discover.js";
import type { LibTorch } from "./library.js";
import { torchAddon, torchTarget } from "./target.js";

export type BuildEvent = AnyBuildEvent<LibTorch>;

export interface BuildOptions extends AnyBuildOptions<LibTorch> {
  /** A folder with a libtorch, instead of looking for one. */
  readonly libtorch?: string | undefined;
  /** Default: the addon of this package. */
  readonly sources?: string;
}

/** Builds the addon unless the cache has it, and makes it the one that is loaded. */
export async function buildAddon(options: BuildOptions = {}): Promise<BuildOutcome> {
  const { env = process.env, libtorch, sources, onEvent } = options;
  const discovery = await discoverLibrary({ env, libtorch });
  onEvent?.({ kind: "looked", candidates: discovery.candidates });
  return buildTarget(torchTarget(torchAddon(sources), requireLibrary(discovery)), options);
}

/** Builds the addon only where the one that would be loaded is not what the sources say. */
export async function ensureAddon(options: BuildOptions = {}): Promise<Build> {
  const status = findBuild(options);
  return status.kind === "ready" ? status.build : buildAddon(options);
}
