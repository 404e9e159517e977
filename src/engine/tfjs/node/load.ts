/** Loads tfjs-node: the build that `repkit build tfjs-node` made, else the package where it is installed. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

import type { KernelBackend } from "@tensorflow/tfjs-core";

import { buildCommandOf, type Problem } from "../../../addons/addon.js";
import { loadBuild } from "../../../addons/find.js";
import { backendError, type Tf } from "../backend.js";
import { backendName, findTfjsNodeBuild, type Variant } from "./addon.js";
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
 * tfjs with tfjs-node's backend, `tensorflow`, set. The package's own entry would look for the addon within
 * the package, so its parts are put together here; its kernels and the backend are registered on the engine
 * that all copies of tfjs-core in a thread share. Works in any number of worker threads. Throws an
 * `environment` error with the way out.
 */
export async function loadTfjsNode(name: Variant, options: TfjsNodeOptions = {}): Promise<Tf> {
  const source = findTfjsNode(name, options);
  if ("problem" in source) throw backendError(backendName(name), source.problem, source.fix);
  const { kind, packageFolder: folder, addonPath } = source;
  try {
    restoreUtil();
    const load = createRequire(join(folder, "package.json"));
    const tf = load("@tensorflow/tfjs") as Tf;
    const { NodeJSKernelBackend } = load("./dist/nodejs_kernel_backend.js") as BackendModule;
    load("./dist/register_all_kernels.js");
    const addon = loadBuild({ name }, { path: addonPath });
    tf.registerBackend(TENSORFLOW, () => new NodeJSKernelBackend(addon, `@tensorflow/${name}`));
    if (await tf.setBackend(TENSORFLOW)) return tf;
    throw new Error("its backend does not start");
  } catch (error) {
    const [reason = ""] = String(error instanceof Error ? error.message : error).split("\n");
    const problem = `${folder} does not load: ${reason.trim()}`;
    const fix = `${buildCommandOf({ name })}${kind === "build" ? " --force" : ""}`;
    throw backendError(backendName(name), problem, fix, error);
  }
}

/** What tfjs-node calls its backend. */
const TENSORFLOW = "tensorflow";

interface BackendModule {
  readonly NodeJSKernelBackend: new (addon: unknown, packageName: string) => KernelBackend;
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
