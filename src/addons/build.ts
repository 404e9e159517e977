/** Compiles an addon against its library unless the cache has that build, and keeps the result. */
import { rmSync } from "node:fs";
import { join, resolve } from "node:path";

import type { Candidate, Library, Target } from "./addon.js";
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
import { withLock } from "./lock.js";
import { compileUnits, sourcesHash } from "./units.js";

export interface BuildOptions<L extends Library = Library> {
  readonly env?: NodeJS.ProcessEnv;
  /** Compile what is compiled already. */
  readonly force?: boolean;
  /** Is told each thing before it is done. */
  readonly onEvent?: (event: BuildEvent<L>) => void;
}

export type BuildEvent<L extends Library = Library> =
  /** Where the library was looked for. */
  | { readonly kind: "looked"; readonly candidates: readonly Candidate<L>[] }
  /** Another process makes the same build. */
  | { readonly kind: "waiting"; readonly folder: string }
  | {
      readonly kind: "compiling";
      readonly target: Target<L>;
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
export async function buildTarget<L extends Library>(
  target: Target<L>,
  options: BuildOptions<L> = {},
): Promise<BuildOutcome> {
  const { env = process.env, force = false, onEvent = () => undefined } = options;
  const { addon } = target;
  const started = performance.now();
  const compiler = findCompiler(env);
  const cache = resolve(cacheFolder(env));
  const hash = sourcesHash(addon.sources);
  const flags = [...target.compileFlags, ...target.linkFlags];
  const name = buildName(target, [hash, compiler.version, ...flags]);
  const folder = join(cache, name);
  const outcome = (build: Build, isNew: boolean): BuildOutcome => {
    makeCurrent(addon, cache, name);
    return { ...build, isNew, seconds: (performance.now() - started) / 1000 };
  };
  const existing = () => (force ? undefined : readBuild(addon, folder));
  const there = existing();
  if (there !== undefined) return outcome(there, false);

  const onWait = () => {
    onEvent({ kind: "waiting", folder });
  };
  return withLock(join(cache, `.lock-${name}`), onWait, async () => {
    const made = existing(); // by the one that was waited for
    if (made !== undefined) return outcome(made, false);
    const build = await compileInto({ target, compiler, env, force, cache, name, hash, onEvent });
    return outcome(build, true);
  });
}

interface BuildJob<L extends Library> {
  readonly target: Target<L>;
  readonly compiler: Compiler;
  readonly env: NodeJS.ProcessEnv;
  readonly force: boolean;
  readonly cache: string;
  readonly name: string;
  readonly hash: string;
  readonly onEvent: (event: BuildEvent<L>) => void;
}

/** Makes a build in a temporary folder and puts it in place as a whole. */
async function compileInto<L extends Library>(job: BuildJob<L>): Promise<Build> {
  const { target, compiler, cache, name, onEvent } = job;
  const { addon, library, cuda } = target;
  const started = performance.now();
  const folder = join(cache, name);
  const units = compileUnits(addon.sources).length;
  onEvent({ kind: "compiling", target, compiler, units, jobs: parallelJobs(addon), folder });
  const temporary = temporaryFolder(cache);
  const cleanUp = () => {
    rmSync(temporary, { recursive: true, force: true });
  };
  process.once("exit", cleanUp);
  try {
    await compileAddon({
      ...job,
      objects: objectFolder(addon, cache),
      folder: temporary,
      failureLog: join(cache, `${name}.log`),
      onUnit: (unit) => {
        onEvent({ kind: "unit", ...unit });
      },
    });
    writeRecord(temporary, {
      version: library.version,
      root: library.root,
      ...(cuda === undefined ? {} : { cuda }),
      compiler: compiler.version,
      library: stampOf(target),
      sourcesHash: job.hash,
      built: new Date().toISOString(),
      seconds: Math.round((performance.now() - started) / 100) / 10,
    });
    publish(temporary, folder);
  } finally {
    process.off("exit", cleanUp);
    cleanUp();
  }
  return readBuild(addon, folder)!;
}
