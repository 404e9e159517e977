// The native JPEG path, where its addon is built; suites that need it are skipped aloud where it is not.

import { readFileSync } from "node:fs";

import { describe } from "@jest/globals";

import { findOptional } from "../../src/addons/optional.js";
import { JPEG_ADDON, jpegAddon } from "../../src/data/jpeg/addon.js";
import type { JpegAddon, JpegFailure } from "../../src/data/jpeg/native.js";
import type { Box, Placement } from "../../src/data/types.js";
import { FIXTURES } from "./fixtures.js";

/** The tests of `body` with the addon, and its file; without one, a skipped suite whose name says why. */
export function describeJpeg(what: string, body: (addon: JpegAddon, path: string) => void): void {
  const status = findOptional(JPEG_ADDON);
  const addon = jpegAddon();
  if (status.kind === "ready" && addon !== undefined) {
    describe(what, () => body(addon, status.build.path));
    return;
  }
  const reason = status.kind === "ready" ? "the addon does not load" : status.problem;
  if (process.env["REPKIT_TEST_JPEG"] === "1") throw new Error(reason);
  describe.skip(`${what}, skipped: ${reason}`, () => body(absent, ""));
}

/** Sizes and hashes of test/fixtures/jpeg. */
export const jpegFixtures = Object.entries(
  JSON.parse(readFileSync(`${FIXTURES}/jpeg/expected.json`, "utf8")) as Record<
    string,
    { width: number; height: number; rgb_sha256: string }
  >,
);

export function jpegFixture(name: string): Uint8Array {
  return Uint8Array.from(readFileSync(`${FIXTURES}/jpeg/${name}`));
}

/** A placement as the addon takes it. */
export function numbersOf({ box, width, height, window, flip }: Placement): Int32Array {
  return Int32Array.of(...edges(box), width, height, ...edges(window), Number(flip));
}

/** The box as it is. */
export function unchanged(box: Box): Placement {
  const { width, height } = box;
  return { box, width, height, window: { left: 0, top: 0, width, height }, flip: false };
}

export interface Outcome {
  readonly failure: JpegFailure | undefined;
  readonly pixels: Uint8Array;
}

export function decode(addon: JpegAddon, bytes: Uint8Array, placement: Placement): Outcome {
  const pixels = new Uint8Array(placement.window.width * placement.window.height * 3);
  return { failure: addon.resampleJpeg(bytes, numbersOf(placement), pixels), pixels };
}

function edges({ left, top, width, height }: Box): number[] {
  return [left, top, width, height];
}

const absent: JpegAddon = {
  resampleJpeg: () => "unsupported",
  resample: () => "unsupported",
  describe: () => ({ version: "not built" }),
};
