/** What `repkit doctor` says about the native path for JPEG files. */
import type { Addon, Problem } from "../../addons/addon.js";
import { diagnoseOptional, type OptionalReport } from "../../addons/diagnose-optional.js";
import { JPEG_ADDON } from "./addon.js";
import { type DiscoverOptions, discoverLibJpeg, installLibJpeg } from "./library.js";

/** A way to read images that is faster than the one that is always there. */
export interface LoaderReport extends Omit<OptionalReport, "description"> {
  /** Of the library that it was compiled against. */
  readonly version?: string;
}

export interface JpegSituation extends DiscoverOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Default: the addon of this package. */
  readonly addon?: Addon;
}

export function diagnoseJpeg(situation: JpegSituation = {}): LoaderReport {
  const { env, addon = JPEG_ADDON } = situation;
  const { name, ok, description, ...rest } = diagnoseOptional(addon, env, () =>
    lackingLibrary(situation),
  );
  if (!ok) return { name, ok, ...rest };
  const { version } = description as { version: string };
  return { name, ok, version, ...rest };
}

/** In the words of the first place, where packages go. */
function lackingLibrary(options: DiscoverOptions): Problem[] {
  const candidates = discoverLibJpeg(options);
  const [first] = candidates;
  if (first === undefined || candidates.some((one) => "library" in one)) return [];
  return "reason" in first ? [{ problem: first.reason, fix: installLibJpeg() }] : [];
}
