/** Loads tfjs-node: the build that `repkit build tfjs-node` made, else the package where it is installed. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

import { buildCommandOf, type Problem } from "../../../addons/addon.js";
import { RepkitError } from "../../../errors.js";
import { findTfjsNodeBuild, type Variant } from "./addon.js";
import { packageFolder } from "./downloads.js";

export interface TfjsNodeOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Where a package of the user's own is looked for; default: the working folder. */
  readonly project?: string;
}

/** A tfjs-node to load. */
export interface TfjsNodeSource {
  readonly kind: "build" | "installed";
  readonly packageFolder: string;
  readonly addonPath: string;
}

/** The build, else the package that the user's project or this one can resolve; else why there is none. */
export function findTfjsNode(
  name: Variant,
  { env = process.env, project = process.cwd() }: TfjsNodeOptions = {},
): TfjsNodeSource | Required<Problem> {
  const status = findTfjsNodeBuild(name, env);
  if (status.kind === "ready") {
    return {
      kind: "build",
      packageFolder: packageFolder(env),
      addonPath: status.build.path,
    };
  }
  const bases = [pathToFileURL(join(project, "package.json")).href, import.meta.url];
  const installed = bases.flatMap((base) => resolvePackage(base, `@tensorflow/${name}`) ?? []);
  for (const folder of installed) {
    const addonPath = join(folder, INSTALLED_ADDON);
    if (existsSync(addonPath)) return { kind: "installed", packageFolder: folder, addonPath };
  }
  const fix = status.kind === "disabled" ? "unset REPKIT_TENSORFLOW" : buildCommandOf({ name });
  const [broken] = installed;
  return broken === undefined || status.kind !== "missing"
    ? { problem: status.problem, fix }
    : { problem: `${broken} is there without its addon: its install script failed`, fix };
}

/** Where the package's own install script puts its addon: under the newest Node-API that it was built for. */
const INSTALLED_ADDON = join("lib", "napi-v8", "tfjs_binding.node");

/**
 * What the package exports: tfjs with its backend `tensorflow`, which is registered on the engine that all
 * copies of tfjs-core in a thread share. Works in any number of worker threads. Throws an `environment`
 * error with the way out.
 */
export function loadTfjsNode(name: Variant, options: TfjsNodeOptions = {}): unknown {
  const source = findTfjsNode(name, options);
  if ("problem" in source) {
    throw new RepkitError("environment", `${source.problem}; run: ${source.fix}`);
  }
  restoreUtil();
  const { kind, packageFolder: folder, addonPath } = source;
  try {
    const load = createRequire(join(folder, "package.json"));
    return withAddon(load, addonPath, () => load(folder) as unknown);
  } catch (error) {
    const [reason = ""] = String(error instanceof Error ? error.message : error).split("\n");
    const fix = `${buildCommandOf({ name })}${kind === "build" ? " --force" : ""}`;
    throw new RepkitError(
      "environment",
      `${name} in ${folder} does not load: ${reason.trim()}; run: ${fix}`,
      { cause: error },
    );
  }
}

/**
 * The package asks node-pre-gyp where its addon is, once, while it loads. The answer is put in place
 * before it asks, so that nothing is written into the package.
 */
function withAddon<T>(load: NodeJS.Require, addonPath: string, run: () => T): T {
  const asked = load.resolve("@mapbox/node-pre-gyp");
  const before = load.cache[asked];
  const answer = { id: asked, filename: asked, loaded: true, exports: { find: () => addonPath } };
  load.cache[asked] = answer as unknown as NodeJS.Module;
  try {
    return run();
  } finally {
    if (before === undefined) Reflect.deleteProperty(load.cache, asked);
    else load.cache[asked] = before;
  }
}

/**
 * tfjs-node calls functions of `util` that Node removed in version 23, and warned of before. Without them
 * it loads, and fails at the first tensor that is freed.
 */
function restoreUtil(): void {
  const util = createRequire(import.meta.url)("node:util") as Record<string, unknown>;
  util["isNullOrUndefined"] = (value: unknown) => value === null || value === undefined;
  util["isArray"] = Array.isArray;
}

function resolvePackage(base: string, name: string): string | undefined {
  try {
    return dirname(createRequire(base).resolve(`${name}/package.json`));
  } catch {
    return undefined; // not installed there
  }
}
