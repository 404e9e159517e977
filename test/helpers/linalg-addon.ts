// The native sums, where their addon is built; suites that need them are skipped aloud where it is not.

import { describe } from "@jest/globals";

import { findOptional } from "../../src/addons/optional.js";
import { LINALG_ADDON, linalgAddon } from "../../src/linalg/addon.js";
import type { LinalgAddon } from "../../src/linalg/native.js";

/** The tests of `body` with the addon; without one, a skipped suite whose name says why. */
export function describeLinalg(what: string, body: (addon: LinalgAddon) => void): void {
  const status = findOptional(LINALG_ADDON);
  const addon = linalgAddon();
  if (addon !== undefined) {
    describe(what, () => body(addon));
    return;
  }
  const reason = status.kind === "ready" ? "the addon does not load" : status.problem;
  describe.skip(`${what}, skipped: ${reason}`, () => body({} as LinalgAddon));
}
