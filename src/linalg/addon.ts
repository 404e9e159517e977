/** The native sums, where they are built. */
import type { Addon } from "../addons/addon.js";
import { loadOptional } from "../addons/optional.js";
import { addonSources } from "../addons/package.js";
import type { LinalgAddon } from "./native.js";

export const LINALG_ADDON: Addon = {
  name: "linalg",
  moduleName: "repkit_linalg",
  sources: addonSources("linalg"),
  bytesPerJob: 0.3e9,
};

/** The addon; undefined where it is not built, does not load, or REPKIT_LINALG=portable turns it off. */
export function linalgAddon(
  env: NodeJS.ProcessEnv = process.env,
  addon: Addon = LINALG_ADDON,
): LinalgAddon | undefined {
  return loadOptional(addon, env) as LinalgAddon | undefined;
}
