/** `repkit build torch`: finds a libtorch, compiles the addon against it, keeps the result. */
import { rmSync } from "node:fs";
import { join, resolve } from "node:path";

import { findBuild } from "./addon.js";
import {
  type Build,
  buildName,
  cacheFolder,
  makeCurrent,
  objectFolder,
  publish,
  readBuild,
  stampOf,
  temporaryFolder,
  writeRecord,
} from "./cache.js";
import { compileAddon, parallelJobs, type UnitReport } from "./compile.js";
import { type Compiler, findCompiler } from "./compiler.js";
import { discoverLibrary, type Discovery, requireLibrary } from "./discover.js";
import type { LibTorch } from "./library.js";
import { withLock } from "./lock.js";
import { ADDON_SOURCES } from "./package.js";
import { compileFlags, compileUnits, linkFlags, sourcesHash } from "./units.js";

export interface BuildOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** A folder with a libtorch, instead of looking for one. */
  readonly libtorch?: string | undefined;
  /** Compile what is compiled already. */
  readonly force?: boolean;
  /** Default: the addon of this package. */
  readonly sources?: string;
  /** Is told each thing before it is done. */
  readonly onEvent?: (event: BuildEvent) => void;
}

export type BuildEvent =
  | { readonly kind: "looked"; readonly discovery: Discovery }
  /** Another process makes the same build. */
  | { readonly kind: "waiting"; readonly folder: string }
  | {
      readonly kind: "compiling";
      readonly library: LibTorch;
      readonly compiler: Compiler;
      readonly units: number;
      readonly jobs: number;
      readonly folder: string;
    }
  | ({ readonly kind: "unit" } & UnitReport);

export interface BuildOutcome extends Build {
  /** False where it was there already. */
  readonly isNew: boolean;
  readonly seconds: number;
}

/** Builds the addon unless the cache has it, and makes it the one that is loaded. */
export async function buildAddon(options: BuildOptions = {}): Promise<BuildOutcome> {
  const { env = process.env, libtorch, force = false, onEvent = () => undefined } = options;
  const sources = options.sources ?? ADDON_SOURCES;
  const started = performance.now();
  const outcome = (build: Build, isNew: boolean): BuildOutcome => {
    makeCurrent(cache, name);
    return { ...build, isNew, seconds: (performance.now() - started) / 1000 };
  };

  const discovery = await discoverLibrary({ env, libtorch });
  onEvent({ kind: "looked", discovery });
  const library = requireLibrary(discovery);
  const compiler = findCompiler(env);

  const cache = resolve(cacheFolder(env));
  const hash = sourcesHash(sources);
  const flags = [...compileFlags(sources, library), ...linkFlags(library)];
  const name = buildName(library, [hash, compiler.version, ...flags]);
  const folder = join(cache, name);
  const existing = () => (force ? undefined : readBuild(folder));
  const there = existing();
  if (there !== undefined) return outcome(there, false);

  const onWait = () => {
    onEvent({ kind: "waiting", folder });
  };
  return withLock(join(cache, `.lock-${name}`), onWait, async () => {
    const made = existing(); // by the one that was waited for
    if (made !== undefined) return outcome(made, false);
    const build = await compileInto({
      sources,
      library,
      compiler,
      env,
      force,
      cache,
      name,
      hash,
      onEvent,
    });
    return outcome(build, true);
  });
}

interface BuildJob {
  readonly sources: string;
  readonly library: LibTorch;
  readonly compiler: Compiler;
  readonly env: NodeJS.ProcessEnv;
  readonly force: boolean;
  readonly cache: string;
  readonly name: string;
  readonly hash: string;
  readonly onEvent: (event: BuildEvent) => void;
}

/** Makes a build in a temporary folder and puts it in place as a whole. */
async function compileInto(job: BuildJob): Promise<Build> {
  const { library, compiler, cache, name, onEvent } = job;
  const started = performance.now();
  const folder = join(cache, name);
  const units = compileUnits(job.sources).length;
  onEvent({ kind: "compiling", library, compiler, units, jobs: parallelJobs(), folder });
  const temporary = temporaryFolder(cache);
  const cleanUp = () => {
    rmSync(temporary, { recursive: true, force: true });
  };
  process.once("exit", cleanUp);
  try {
    await compileAddon({
      ...job,
      objects: objectFolder(cache),
      folder: temporary,
      failureLog: join(cache, `${name}.log`),
      onUnit: (unit) => {
        onEvent({ kind: "unit", ...unit });
      },
    });
    writeRecord(temporary, {
      version: library.version,
      root: library.root,
      cuda: library.cuda ?? null,
      compiler: compiler.version,
      library: stampOf(library),
      sourcesHash: job.hash,
      built: new Date().toISOString(),
      seconds: Math.round((performance.now() - started) / 100) / 10,
    });
    publish(temporary, folder);
  } finally {
    process.off("exit", cleanUp);
    cleanUp();
  }
  return readBuild(folder)!;
}

/** Builds the addon only where the one that would be loaded is not what the sources say. */
export async function ensureAddon(options: BuildOptions = {}): Promise<Build> {
  const { env = process.env, sources = ADDON_SOURCES } = options;
  const status = findBuild({ env, sources });
  return status.kind === "ready" ? status.build : buildAddon(options);
}
