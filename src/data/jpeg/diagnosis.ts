/** What `repkit doctor` says about the native path for JPEG files. */
import { type Addon, buildCommandOf, type Problem } from "../../addons/addon.js";
import { diagnoseCompiler } from "../../addons/compiler.js";
import { probeAddon } from "../../addons/probe.js";
import { findJpegBuild, JPEG_ADDON } from "./addon.js";
import { type DiscoverOptions, discoverLibJpeg, installLibJpeg } from "./library.js";

/** A way to read images that is faster than the one that is always there. */
export interface LoaderReport {
  readonly name: string;
  readonly ok: boolean;
  /** Of the library that it was compiled against. */
  readonly version?: string;
  /** The file that is loaded. */
  readonly path?: string;
  /** Why images are read in the slower way. */
  readonly problems: readonly Problem[];
}

export interface JpegSituation extends DiscoverOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Default: the addon of this package. */
  readonly addon?: Addon;
}

export function diagnoseJpeg(situation: JpegSituation = {}): LoaderReport {
  const { env = process.env, addon = JPEG_ADDON } = situation;
  const status = findJpegBuild(env, addon);
  const command = buildCommandOf(addon);
  const failed = (problem: string, fix: string, path?: string): LoaderReport => ({
    ...{ name: addon.name, ok: false, problems: [{ problem, fix }] },
    ...(path === undefined ? {} : { path }),
  });
  if (status.kind === "disabled") return failed(status.problem, "unset REPKIT_JPEG");
  if (status.kind === "ready") {
    const { path } = status.build;
    const probe = probeAddon(addon, path, env);
    if ("problem" in probe) return failed(probe.problem, `${command} --force`, path);
    const { version } = probe.description as { version: string };
    return { name: addon.name, ok: true, version, path, problems: [] };
  }
  const compiler = diagnoseCompiler(env);
  const lacking = [...lackingLibrary(situation), ...("problem" in compiler ? [compiler] : [])];
  const lacks = lacking.map(({ problem }) => problem).join(", ");
  const problem = lacks === "" ? status.problem : `${status.problem}: ${lacks}`;
  return failed(problem, [...lacking.flatMap(({ fix = [] }) => fix), command].join(" && "));
}

/** In the words of the first place, where packages go. */
function lackingLibrary(options: DiscoverOptions): Problem[] {
  const candidates = discoverLibJpeg(options);
  const [first] = candidates;
  if (first === undefined || candidates.some((one) => "library" in one)) return [];
  return "reason" in first ? [{ problem: first.reason, fix: installLibJpeg() }] : [];
}
