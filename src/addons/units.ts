/** What there is to compile, and with which flags. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

import type { Addon } from "./addon.js";
import { nodeHeaders, nodeHeaderVersions, packageVersion } from "./package.js";

/** `sources.json` beside them: what needs more than the common flags. */
interface Manifest {
  /** File → flags after the common ones. */
  readonly flags?: Readonly<Record<string, readonly string[]>>;
  /** Files that are compiled once for each instruction set of the machine; which one runs is chosen there. */
  readonly kernels?: {
    readonly files: readonly string[];
    /** Flags of them all. */
    readonly flags: readonly string[];
    /** Architecture (Node's name) → instruction set → flags; other machines get `default`. */
    readonly instructionSets: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
  };
}

/** One run of the compiler. */
export interface Unit {
  /** `kernels/sums.avx2`, for people. */
  readonly name: string;
  readonly source: string;
  readonly flags: readonly string[];
}

/** Every `.cc` file once, or once for each instruction set. */
export function compileUnits(sources: string, arch: string = process.arch): readonly Unit[] {
  const { flags = {}, kernels } = readManifest(sources);
  const files = sourceFiles(sources).filter((file) => file.endsWith(".cc"));
  const known = [...Object.keys(flags), ...(kernels?.files ?? [])];
  const strangers = known.filter((file) => !files.includes(file));
  if (strangers.length > 0) throw new Error(`sources.json: no such file: ${strangers.join(", ")}`);
  return files.flatMap((source) => {
    const name = source.slice(0, -".cc".length);
    const own = flags[source] ?? [];
    if (kernels?.files.includes(source) !== true) return [{ name, source, flags: own }];
    const sets = kernels.instructionSets[arch] ?? { default: [] };
    return Object.entries(sets).map(([set, more]) => ({
      name: `${name}.${set}`,
      source,
      flags: [...kernels.flags, ...own, ...more],
    }));
  });
}

/** What a library asks of the compiler, beside the common flags. */
export interface CompileNeeds {
  /** 17, 20, ... */
  readonly cxxStandard: number;
  readonly options?: readonly string[];
  /** `-D...` */
  readonly definitions?: readonly string[];
  readonly includeDirs: readonly string[];
}

/** Flags of every unit. */
export function compileFlags(addon: Addon, needs: CompileNeeds): readonly string[] {
  const { cxxStandard, options = [], definitions = [], includeDirs } = needs;
  return [
    `-std=c++${cxxStandard}`,
    ...["-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"],
    ...options,
    ...["-DNAPI_VERSION=8", "-DNAPI_CPP_EXCEPTIONS"],
    `-DNODE_GYP_MODULE_NAME=${addon.moduleName}`,
    ...definitions,
    `-I${addon.sources}`,
    ...nodeHeaders().flatMap((folder) => ["-isystem", folder]),
    // Named again, /usr/include would come before the compiler's own headers.
    ...includeDirs.filter((dir) => dir !== "/usr/include").flatMap((dir) => ["-isystem", dir]),
  ];
}

/** What of a library to link, and where it is found when the addon is loaded. */
export interface LinkNeeds {
  readonly libraryDir?: string;
  /** Names without `lib` and extension. */
  readonly libraries: readonly string[];
  /** Not on macOS, whose linker knows others. */
  readonly options?: readonly string[];
}

/** Flags of the link, after the objects. */
export function linkFlags({ libraryDir, libraries, options = [] }: LinkNeeds): readonly string[] {
  const names = libraries.map((name) => `-l${name}`);
  const search = libraryDir === undefined ? [] : [`-L${libraryDir}`, `-Wl,-rpath,${libraryDir}`];
  if (process.platform === "darwin") {
    return ["-bundle", "-undefined", "dynamic_lookup", ...search, ...names];
  }
  return ["-shared", ...options, ...search, "-Wl,--no-as-needed", ...names];
}

/** Changes with whatever in this package the addon is made of. */
export function sourcesHash(sources: string): string {
  const hash = createHash("sha256");
  hash.update([packageVersion(), ...nodeHeaderVersions()].join(" "));
  for (const file of sourceFiles(sources)) {
    hash.update(`\n${file}\n`).update(readFileSync(join(sources, file)));
  }
  return hash.digest("hex");
}

/** Changes with a unit's file and what it includes of the addon, directly or not. */
export function unitHash(sources: string, source: string): string {
  const hash = createHash("sha256").update(nodeHeaderVersions().join(" "));
  const seen = new Set<string>();
  const add = (file: string) => {
    if (seen.has(file) || !existsSync(file)) return; // else a header of the library
    seen.add(file);
    const text = readFileSync(file, "utf8");
    hash.update(`\n${relative(sources, file)}\n`).update(text);
    for (const [, name = ""] of text.matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)) {
      add(join(dirname(file), name));
      add(join(sources, name));
    }
  };
  add(join(sources, source));
  return hash.digest("hex");
}

function sourceFiles(sources: string): string[] {
  return readdirSync(sources, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(cc|h)$|^sources\.json$/.test(file))
    .sort();
}

function readManifest(sources: string): Manifest {
  const file = join(sources, "sources.json");
  if (!existsSync(file)) return {};
  const manifest = JSON.parse(readFileSync(file, "utf8")) as Manifest;
  const strangers = Object.keys(manifest).filter((key) => key !== "flags" && key !== "kernels");
  if (strangers.length > 0) throw new Error(`sources.json: unknown key: ${strangers.join(", ")}`);
  return manifest;
}
