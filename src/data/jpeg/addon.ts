/** The native path for JPEG files, where it is built. */
import type { Addon } from "../../addons/addon.js";
import { loadOptional } from "../../addons/optional.js";
import { addonSources } from "../../addons/package.js";
import type { JpegAddon } from "./native.js";

export const JPEG_ADDON: Addon = {
  name: "jpeg",
  moduleName: "repkit_jpeg",
  sources: addonSources("jpeg"),
  bytesPerJob: 0.3e9,
};

/** The addon; undefined where it is not built, does not load, or REPKIT_JPEG=portable turns it off. */
export function jpegAddon(
  env: NodeJS.ProcessEnv = process.env,
  addon: Addon = JPEG_ADDON,
): JpegAddon | undefined {
  return loadOptional(addon, env) as JpegAddon | undefined;
}
