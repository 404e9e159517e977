/** `repkit build jpeg`: finds a libjpeg-turbo and compiles the addon against it. */
import { join } from "node:path";

import type { Addon, Target } from "../../addons/addon.js";
import {
  type BuildOptions as AnyBuildOptions,
  type BuildOutcome,
  buildTarget,
} from "../../addons/build.js";
import type { Build } from "../../addons/cache.js";
import { libraryFile } from "../../addons/files.js";
import { findCurrent } from "../../addons/find.js";
import { compileFlags, linkFlags } from "../../addons/units.js";
import { JPEG_ADDON } from "./addon.js";
import { type DiscoverOptions, discoverLibJpeg, type LibJpeg, requireLibJpeg } from "./library.js";

export interface BuildOptions extends AnyBuildOptions<LibJpeg>, DiscoverOptions {
  /** Default: the addon of this package. */
  readonly addon?: Addon;
}

/** Builds the addon unless the cache has it, and makes it the one that is loaded. */
export async function buildJpegAddon(options: BuildOptions = {}): Promise<BuildOutcome> {
  const { addon = JPEG_ADDON, onEvent } = options;
  const candidates = discoverLibJpeg(options);
  onEvent?.({ kind: "looked", candidates });
  return buildTarget(jpegTarget(addon, requireLibJpeg(candidates)), options);
}

/** Builds the addon only where the one that would be loaded is not what the sources say. */
export async function ensureJpegAddon(options: BuildOptions = {}): Promise<Build> {
  const status = findCurrent(options.addon ?? JPEG_ADDON, options.env);
  return status.kind === "ready" ? status.build : buildJpegAddon(options);
}

const CXX_STANDARD = 17;

function jpegTarget(addon: Addon, library: LibJpeg): Target<LibJpeg> {
  return {
    addon,
    library,
    title: `libjpeg-turbo ${library.version}`,
    libraryFile: join(library.libraryDir, libraryFile("jpeg")),
    cxxStandard: CXX_STANDARD,
    compileFlags: compileFlags(addon, { ...library, cxxStandard: CXX_STANDARD }),
    linkFlags: linkFlags({ ...library, libraries: ["jpeg"] }),
  };
}
