/** What there is to know about an addon and the library under it, for those who compile, keep and find builds. */

export interface Addon {
  /** Names its builds: `torch-1.13.0-linux-x64-<hash>/`. */
  readonly name: string;
  /** Its file, less `.node`. */
  readonly moduleName: string;
  /** The folder of its C++ sources. */
  readonly sources: string;
  /** What one run of the compiler takes, in bytes, roughly. */
  readonly bytesPerJob: number;
}

/** A library on disk. Whatever else is known about it is part of a build's name. */
export interface Library {
  /** The folder that holds (or, for a prefix such as /usr, whose subfolders hold) all of it. */
  readonly root: string;
  /** As the library states it. */
  readonly version: string;
}

/** Why a folder cannot be used, and the command that mends it where there is one. */
export interface Refusal {
  readonly reason: string;
  readonly fix?: string;
}

export type Inspection<L extends Library = Library> = { readonly library: L } | Refusal;

/** A place where a library could be, and what was found there. */
export type Candidate<L extends Library = Library> = { readonly source: string } & Inspection<L>;

/** An addon and what it is compiled against on this machine. */
export interface Target<L extends Library = Library> {
  readonly addon: Addon;
  readonly library: L;
  /** For people: `libtorch 1.13.0`. */
  readonly title: string;
  /** The library's file that the addon is linked to; a build is stale once that changes. */
  readonly libraryFile: string;
  readonly cxxStandard: number;
  /** CUDA's version, of a library that may have it. */
  readonly cuda?: string | null;
  readonly compileFlags: readonly string[];
  readonly linkFlags: readonly string[];
}

/** Something that is wrong, and the command that mends it. */
export interface Problem {
  readonly problem: string;
  readonly fix?: string;
}

/** The command that builds an addon. */
export function buildCommandOf({ name }: Pick<Addon, "name">): string {
  return `repkit build ${name}`;
}
