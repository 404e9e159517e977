/** `repkit build tfjs-node`: gets TensorFlow and the npm package, and compiles the package's addon. */
import { existsSync } from "node:fs";
import { join } from "node:path";

import type { Candidate, Target } from "../../../addons/addon.js";
import {
  type BuildOptions as AnyBuildOptions,
  type BuildOutcome,
  buildTarget,
} from "../../../addons/build.js";
import { isUnchanged } from "../../../addons/cache.js";
import { findCompiler } from "../../../addons/compiler.js";
import { compileFlags, linkFlags } from "../../../addons/units.js";
import { RepkitError } from "../../../errors.js";
import { findTfjsNodeBuild, tfjsNodeAddon, type Variant } from "./addon.js";
import {
  type DownloadOptions,
  ensurePackage,
  ensureTensorFlow,
  packageFolder,
} from "./downloads.js";
import {
  inspectTensorFlow,
  LIBRARIES,
  namedTensorFlow,
  NO_TENSORFLOW,
  requireTensorFlow,
  type TensorFlow,
} from "./library.js";

export interface BuildOptions extends AnyBuildOptions<TensorFlow>, DownloadOptions {
  readonly env?: NodeJS.ProcessEnv;
}

/** Builds the addon unless the cache has it, and makes it the one that is loaded. */
export async function buildTfjsNode(
  name: Variant,
  options: BuildOptions = {},
): Promise<BuildOutcome> {
  const { env = process.env, onEvent } = options;
  findCompiler(env); // before hundreds of megabytes come for nothing
  const candidate = await getTensorFlow(name, options);
  onEvent?.({ kind: "looked", candidates: [candidate] });
  const library = requireTensorFlow(candidate);
  return buildTarget(tfjsNodeTarget(name, library, await ensurePackage(options)), options);
}

/** Compiles the addon again where there is a build of other sources; downloads nothing. */
export async function refreshTfjsNode(options: BuildOptions = {}): Promise<void> {
  const status = findTfjsNodeBuild("tfjs-node", options.env);
  if (status.kind !== "stale" || !isUnchanged(status.build.record)) return;
  if (existsSync(packageFolder(options.env))) await buildTfjsNode("tfjs-node", options);
}

async function getTensorFlow(name: Variant, options: BuildOptions): Promise<Candidate<TensorFlow>> {
  const named = namedTensorFlow(options.env ?? process.env);
  if (named === NO_TENSORFLOW) {
    throw new RepkitError("environment", `REPKIT_TENSORFLOW is "${NO_TENSORFLOW}"; unset it`);
  }
  if (named !== undefined) return { source: "REPKIT_TENSORFLOW", ...inspectTensorFlow(named) };
  const root = await ensureTensorFlow({ gpu: name === "tfjs-node-gpu" }, options);
  return { source: "PyPI", ...inspectTensorFlow(root) };
}

const CXX_STANDARD = 17;

function tfjsNodeTarget(
  name: Variant,
  library: TensorFlow,
  npmPackage: string,
): Target<TensorFlow> {
  const addon = tfjsNodeAddon(name);
  const { includeDirs, libraryDir } = library;
  return {
    addon,
    library,
    title: `TensorFlow ${library.version}`,
    libraryFile: join(libraryDir, LIBRARIES[0]),
    cxxStandard: CXX_STANDARD,
    compileFlags: compileFlags(addon, {
      cxxStandard: CXX_STANDARD,
      includeDirs: [npmPackage, ...includeDirs],
    }),
    linkFlags: linkFlags({
      libraryDir,
      libraries: LIBRARIES.map((file) => `:${file}`),
      // A worker thread that ends unloads its addons, and with them the code that TensorFlow's threads run.
      options: ["-Wl,-z,nodelete"],
    }),
  };
}
