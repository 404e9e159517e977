/** Which libjpeg-turbo the addon is compiled against. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import type {
  Candidate as AnyCandidate,
  Inspection as AnyInspection,
  Library,
} from "../../addons/addon.js";
import { libraryDirOf, libraryFile, TRIPLET } from "../../addons/files.js";
import { aptInstall } from "../../addons/mending.js";
import { RepkitError } from "../../errors.js";

/** The oldest major version whose decoding of regions equals that of whole images. */
const OLDEST = 2;

/** Where libjpeg-turbo installs: packages, its own makefiles, its own packages, Homebrew. */
const PREFIXES = ["/usr", "/usr/local", "/opt/libjpeg-turbo", "/opt/homebrew/opt/jpeg-turbo"];

export interface LibJpeg extends Library {
  readonly includeDirs: readonly string[];
  readonly libraryDir: string;
}

export type Candidate = AnyCandidate<LibJpeg>;

export interface DiscoverOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Folders with include/ and lib/, unless REPKIT_LIBJPEG names one. */
  readonly prefixes?: readonly string[];
}

/** Looks at each prefix, in order. One that is named is the only one that is looked at. */
export function discoverLibJpeg(options: DiscoverOptions = {}): readonly Candidate[] {
  const { env = process.env, prefixes = PREFIXES } = options;
  const named = env["REPKIT_LIBJPEG"] ?? "";
  if (named !== "") return [{ source: "REPKIT_LIBJPEG", ...inspectLibJpeg(resolve(named)) }];
  const found = prefixes.map((root): Candidate => ({ source: root, ...inspectLibJpeg(root) }));
  // The first is where packages go; of the others only what is there is worth a word.
  return found.filter((one, i) => i === 0 || "library" in one);
}

/** The first that can be used, or an error that says what was looked at and what to do. */
export function requireLibJpeg(candidates: readonly Candidate[]): LibJpeg {
  const found = candidates.find((candidate) => "library" in candidate);
  if (found !== undefined) return found.library;
  const reasons = candidates.flatMap((one) => ("reason" in one ? [one.reason] : [])).join("; ");
  throw new RepkitError(
    "environment",
    `no libjpeg-turbo found (${reasons}); run: ${installLibJpeg()}`,
    { details: { reason: "no-library" } },
  );
}

/** The command that installs it. */
export function installLibJpeg(): string {
  return aptInstall("libjpeg-dev") ?? "install libjpeg-turbo with the system's package manager";
}

/** Looks at a prefix such as /usr; nothing is executed. */
export function inspectLibJpeg(root: string): AnyInspection<LibJpeg> {
  const libraryDir = libraryDirOf(root, "jpeg");
  if (libraryDir === undefined) return { reason: `${root} has no lib/${libraryFile("jpeg")}` };
  const include = join(root, "include");
  const dirs = [include, join(include, TRIPLET)].filter((dir) => existsSync(dir));
  for (const name of ["jpeglib.h", "jerror.h"]) {
    if (!dirs.some((dir) => existsSync(join(dir, name)))) {
      return { reason: `${root} has the library but no headers (include/${name})` };
    }
  }
  const version = dirs
    .flatMap((dir) => [join(dir, "jconfig.h"), join(dir, "jconfig-64.h")])
    .filter((file) => existsSync(file))
    .map((file) => /#define LIBJPEG_TURBO_VERSION\s+(\S+)/.exec(readFileSync(file, "utf8"))?.[1])
    .find((text) => text !== undefined);
  if (version === undefined) return { reason: `${root} has a libjpeg that is not libjpeg-turbo` };
  if (Number.parseInt(version) < OLDEST) {
    return { reason: `${root} has libjpeg-turbo ${version}; ${OLDEST}.0 or newer is needed` };
  }
  // The compiler's own folders, named again, would come before its other headers.
  return { library: { root, version, includeDirs: root === "/usr" ? [] : dirs, libraryDir } };
}
