/** The native path for JPEG files, where it is built. */
import { type Addon } from "../../addons/addon.js";
import { type AddonStatus, findCurrent, loadBuild } from "../../addons/find.js";
import { addonSources } from "../../addons/package.js";
import { RepkitError } from "../../errors.js";
import type { JpegAddon } from "./native.js";

export const JPEG_ADDON: Addon = {
  name: "jpeg",
  moduleName: "repkit_jpeg",
  sources: addonSources("jpeg"),
  bytesPerJob: 0.3e9,
};

/** What `REPKIT_JPEG` says to do without: for comparisons. */
const PORTABLE = "portable";

/** The build to load, or why there is none. */
export function findJpegBuild(
  env: NodeJS.ProcessEnv = process.env,
  addon: Addon = JPEG_ADDON,
): AddonStatus {
  if (env["REPKIT_JPEG"] === PORTABLE) {
    return { kind: "disabled", problem: `REPKIT_JPEG is "${PORTABLE}"` };
  }
  return findCurrent(addon, env);
}

/** The addon; undefined where it is not built, does not load, or REPKIT_JPEG=portable turns it off. */
export function jpegAddon(
  env: NodeJS.ProcessEnv = process.env,
  addon: Addon = JPEG_ADDON,
): JpegAddon | undefined {
  const status = findJpegBuild(env, addon);
  if (status.kind !== "ready") return undefined;
  try {
    return loadBuild(addon, status.build) as JpegAddon;
  } catch (error) {
    if (error instanceof RepkitError) return undefined; // `repkit doctor` says why
    throw error;
  }
}
