/** `repkit build linalg`: compiles the addon, which needs nothing but a compiler and Node's own headers. */
import { join } from "node:path";

import type { Addon, Library, Target } from "../addons/addon.js";
import { type BuildOptions, type BuildOutcome, buildTarget } from "../addons/build.js";
import type { Build } from "../addons/cache.js";
import { findCurrent } from "../addons/find.js";
import { nodeApiHeaders } from "../addons/package.js";
import { compileFlags, linkFlags } from "../addons/units.js";
import { LINALG_ADDON } from "./addon.js";

export interface LinalgBuildOptions extends BuildOptions {
  /** Default: the addon of this package. */
  readonly addon?: Addon;
}

/** Builds the addon unless the cache has it, and makes it the one that is loaded. */
export async function buildLinalgAddon(options: LinalgBuildOptions = {}): Promise<BuildOutcome> {
  return buildTarget(linalgTarget(options.addon ?? LINALG_ADDON), options);
}

/** Builds the addon only where the one that would be loaded is not what the sources say. */
export async function ensureLinalgAddon(options: LinalgBuildOptions = {}): Promise<Build> {
  const status = findCurrent(options.addon ?? LINALG_ADDON, options.env);
  return status.kind === "ready" ? status.build : buildLinalgAddon(options);
}

const CXX_STANDARD = 17;

/** Its only library is Node's interface for addons, which is in its headers; and the system's threads. */
function linalgTarget(addon: Addon): Target {
  const library: Library = nodeApiHeaders();
  return {
    addon,
    library,
    title: `Node-API's headers ${library.version}`,
    libraryFile: join(library.root, "node_api.h"),
    cxxStandard: CXX_STANDARD,
    compileFlags: compileFlags(addon, { cxxStandard: CXX_STANDARD, includeDirs: [] }),
    linkFlags: [...linkFlags({ libraries: [] }), "-pthread"],
  };
}
