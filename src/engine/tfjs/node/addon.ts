/** tfjs-node's addon as `repkit build` makes it: the builds by name, and which of them is loaded. */
import { existsSync } from "node:fs";

import type { Addon } from "../../../addons/addon.js";
import { type AddonStatus, findCurrent } from "../../../addons/find.js";
import { addonSources } from "../../../addons/package.js";
import { packageFolder } from "./downloads.js";
import { namedTensorFlow, NO_TENSORFLOW } from "./library.js";

/** The npm packages, and the builds, which bear their names. */
export const VARIANTS = ["tfjs-node-gpu", "tfjs-node"] as const;

export type Variant = (typeof VARIANTS)[number];

/** The engine is `tfjs:<name>`. */
export function backendName(name: Variant): "node" | "node-gpu" {
  return name === "tfjs-node" ? "node" : "node-gpu";
}

export function isVariant(name: string): name is Variant {
  return (VARIANTS as readonly string[]).includes(name);
}

/** Both are compiled from the same sources, against TensorFlow without CUDA or with it. */
export function tfjsNodeAddon(name: Variant): Addon {
  return {
    name,
    moduleName: "tfjs_binding",
    sources: addonSources("tfjs-node"),
    bytesPerJob: 0.5e9,
  };
}

/** The build to load, or why there is none. */
export function findTfjsNodeBuild(
  name: Variant,
  env: NodeJS.ProcessEnv = process.env,
): AddonStatus {
  if (namedTensorFlow(env) === NO_TENSORFLOW) {
    return { kind: "disabled", problem: `REPKIT_TENSORFLOW is "${NO_TENSORFLOW}"` };
  }
  const status = findCurrent(tfjsNodeAddon(name), env);
  if (status.kind !== "ready" || existsSync(packageFolder(env))) return status;
  const problem = `${packageFolder(env)}, which the ${name} addon belongs to, is gone`;
  return { kind: "stale", build: status.build, problem };
}
