/** Loads tfjs-node: the build that `repkit build tfjs-node` made, else the package where it is installed. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

import { buildCommandOf } from "../../../addons/addon.js";
import { RepkitError } from "../../../errors.js";
import { findTfjsNodeBuild, tfjsNodeAddon, type Variant } from "./addon.js";
import { packageFolder } from "./downloads.js";

export interface TfjsNodeOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Where a package of the user's own is looked for; default: the working folder. */
  readonly project?: string;
}

/** A tfjs-node that could be loaded. */
export interface TfjsNodeSource {
  readonly kind: "build" | "installed";
  readonly packageFolder: string;
  /** The addon of a build; an installed package knows its own. */
  readonly addonPath?: string;
}

/** The build, else the package that the user's project or this one can resolve; else why there is none. */
export function findTfjsNode(
  name: Variant,
  { env = process.env, project = process.cwd() }: TfjsNodeOptions = {},
): TfjsNodeSource | { readonly problem: string; readonly fix: string } {
  const status = findTfjsNodeBuild(name, env);
  if (status.kind === "ready") {
    const { path: addonPath } = status.build;
    return { kind: "build", packageFolder: packageFolder(env), addonPath };
  }
  const bases = [pathToFileURL(join(project, "package.json")).href, import.meta.url];
  for (const base of bases) {
    const found = resolvePackage(base, `@tensorflow/${name}`);
    if (found !== undefined) return { kind: "installed", packageFolder: found };
  }
  const fix = status.kind === "disabled" ? "unset REPKIT_TENSORFLOW" : buildCommandOf({ name });
  return { problem: status.problem, fix };
}

/**
 * What the package exports: tfjs with its backend `tensorflow`, which is registered on the engine that all
 * copies of tfjs-core in a thread share. Throws an `environment` error with the way out.
 */
export function loadTfjsNode(name: Variant, options: TfjsNodeOptions = {}): unknown {
  const source = findTfjsNode(name, options);
  if ("problem" in source) {
    throw new RepkitError("environment", `${source.problem}; run: ${source.fix}`);
  }
  restoreUtil();
  const load = createRequire(join(source.packageFolder, "package.json"));
  try {
    return source.addonPath === undefined
      ? load(source.packageFolder)
      : withAddon(load, source.addonPath, () => load(source.packageFolder) as unknown);
  } catch (error) {
    const [reason = ""] = String(error instanceof Error ? error.message : error).split("\n");
    const where = source.kind === "build" ? source.addonPath! : source.packageFolder;
    throw new RepkitError(
      "environment",
      `${name} does not load (${where}): ${reason.trim()}; run: ${buildCommandOf(tfjsNodeAddon(name))}${source.kind === "build" ? " --force" : ""}`,
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
  const stand = { id: asked, filename: asked, loaded: true, exports: { find: () => addonPath } };
  load.cache[asked] = stand as unknown as NodeJS.Module;
  try {
    return run();
  } finally {
    if (before === undefined) delete load.cache[asked]; // eslint-disable-line @typescript-eslint/no-dynamic-delete
    else load.cache[asked] = before;
  }
}

/**
 * tfjs-node calls functions of `util` that Node removed in version 23 (and warns of before): without them
 * it registers its kernels and then fails in some of them.
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
