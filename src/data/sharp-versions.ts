/** What reads images everywhere, for `repkit doctor`. */
import { sharp } from "./sharp.js";

export interface SharpVersions {
  readonly sharp: string;
  readonly libvips: string;
}

export function sharpVersions(): SharpVersions {
  const { sharp: own = "unknown", vips = "unknown" } = sharp.versions as Record<string, string>;
  return { sharp: own, libvips: vips };
}
