/** Addons that everything works without, only slower. */
import { RepkitError } from "../errors.js";
import type { Addon } from "./addon.js";
import { type AddonStatus, findCurrent, loadBuild } from "./find.js";

/** What `REPKIT_<NAME>` says to do without an addon: for comparisons. */
const PORTABLE = "portable";

/** The environment variable that turns an addon off. */
export function variableOf({ name }: Addon): string {
  return `REPKIT_${name.toUpperCase()}`;
}

/** The build to load, or why there is none. */
export function findOptional(addon: Addon, env: NodeJS.ProcessEnv = process.env): AddonStatus {
  const variable = variableOf(addon);
  if (env[variable] === PORTABLE) {
    return { kind: "disabled", problem: `${variable} is "${PORTABLE}"` };
  }
  return findCurrent(addon, env);
}

/** Its exports; undefined where it is not built, does not load, or is turned off. */
export function loadOptional(addon: Addon, env: NodeJS.ProcessEnv = process.env): unknown {
  const status = findOptional(addon, env);
  if (status.kind !== "ready") return undefined;
  try {
    return loadBuild(addon, status.build);
  } catch (error) {
    if (error instanceof RepkitError) return undefined; // `repkit doctor` says why
    throw error;
  }
}
