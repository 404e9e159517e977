// The native path on files that are damaged, hostile, or not for it: an answer, never a crash.

import { Buffer } from "node:buffer";

import { expect, test } from "@jest/globals";

import type { Box } from "../../../src/data/types.js";
import { randomStream } from "../../../src/util/random.js";
import {
  decode,
  describeJpeg,
  jpegFixture,
  jpegFixtures,
  unchanged,
} from "../../helpers/jpeg-addon.js";

const PIXEL: Box = { left: 0, top: 0, width: 1, height: 1 };

/** Where the first marker of that kind begins. */
function markerAt(bytes: Uint8Array, marker: number): number {
  return Buffer.from(bytes).indexOf(Buffer.from([0xff, marker]));
}

describeJpeg("a file that is damaged", (addon) => {
  test.each(["tiny.jpg", "gray.jpg", "progressive-incomplete.jpg"])(
    "%s, cut anywhere, is truncated whichever box is asked for",
    (name) => {
      const bytes = jpegFixture(name);
      const { width, height } = Object.fromEntries(jpegFixtures)[name]!;
      const last = { left: width - 1, top: height - 1, width: 1, height: 1 };
      for (let length = 0; length <= bytes.length - 2; length++) {
        const cut = bytes.slice(0, length);
        const failures = [PIXEL, last].map((box) => decode(addon, cut, unchanged(box)).failure);
        expect({ length, failures }).toEqual({ length, failures: ["truncated", "truncated"] });
      }
      expect(decode(addon, bytes, unchanged(last)).failure).toBeUndefined();
    },
  );

  test("is whole with something after its end, or without an end if all pixels are there", () => {
    const bytes = jpegFixture("subsampling-420.jpg");
    const after = (end: number, count: number) => {
      const changed = new Uint8Array(end + count);
      changed.set(bytes.subarray(0, end));
      return decode(addon, changed, unchanged(PIXEL));
    };
    expect(after(bytes.length, 10_000).failure).toBeUndefined();
    expect(after(bytes.length - 2, 100).failure).toBeUndefined();
    expect(after(5000, 0).failure).toBe("truncated");
  });

  test("where the data stops at a marker that does not belong there is corrupt", () => {
    const bytes = jpegFixture("gray.jpg");
    bytes.set([0xff, 0xc0], 700); // another frame header, among the pixels
    expect(decode(addon, bytes, unchanged(PIXEL)).failure).toBeUndefined(); // before it
    expect(decode(addon, bytes, unchanged({ ...PIXEL, top: 60 })).failure).toBe("corrupt");
  });

  test("in any bytes gives pixels or a reason", () => {
    const random = randomStream(0, "flips");
    const below = (count: number): number => Math.floor(random() * count);
    const seen = new Set<string | undefined>();
    for (const [name, { width, height }] of jpegFixtures) {
      const whole = jpegFixture(name);
      for (let i = 0; i < 200; i++) {
        const bytes = whole.slice(0, below(4) === 0 ? below(whole.length) : whole.length);
        for (let flips = below(5); flips >= 0; flips--) bytes[below(bytes.length)] = below(256);
        const box = { left: below(width), top: below(height), width: 1, height: 1 };
        seen.add(decode(addon, bytes, unchanged(box)).failure);
      }
    }
    expect([...seen].sort()).toEqual(["corrupt", "truncated", "unsupported", undefined]);
  });
});

describeJpeg("a file that is not for this path", (addon) => {
  test.each([
    ["CMYK", jpegFixture("cmyk.jpg")],
    ["no JPEG at all", Uint8Array.from(Buffer.from("plain text, long enough"))],
  ])("is unsupported: %s", (_what, bytes) => {
    expect(decode(addon, bytes, unchanged(PIXEL)).failure).toBe("unsupported");
  });

  test("is unsupported: 12 bits", () => {
    const bytes = jpegFixture("gray.jpg");
    bytes[markerAt(bytes, 0xc0) + 4] = 12;
    expect(decode(addon, bytes, unchanged(PIXEL)).failure).toBe("unsupported");
  });

  test("is unsupported: a box beyond the image, which somebody else took for larger", () => {
    const bytes = jpegFixture("tiny.jpg");
    for (const box of [
      { ...PIXEL, left: 3 },
      { ...PIXEL, top: 2 },
      { ...PIXEL, width: 2 ** 31 - 1 },
    ]) {
      const placement = { ...unchanged(PIXEL), box };
      expect(decode(addon, bytes, placement).failure).toBe("unsupported");
    }
  });

  test("is too large: more pixels than a decompression bomb's limit", () => {
    const bytes = jpegFixture("gray.jpg");
    const frame = markerAt(bytes, 0xc0);
    bytes.set([0x34, 0x40, 0x34, 0x40], frame + 5); // 13376 x 13376 is within
    expect(decode(addon, bytes, unchanged(PIXEL)).failure).toBeUndefined();
    bytes.set([0x34, 0x60, 0x34, 0x60], frame + 5); // 13408 x 13408 is not
    expect(decode(addon, bytes, unchanged(PIXEL)).failure).toBe("too-large");
  });

  test("is too large: a progressive file of more memory, or more scans, than any photograph", () => {
    const bytes = jpegFixture("progressive.jpg");
    const huge = bytes.slice();
    huge.set([0x33, 0x00, 0x33, 0x00], markerAt(bytes, 0xc2) + 5);
    huge[markerAt(bytes, 0xc2) + 11] = 0x11; // no subsampling: 6 bytes a pixel
    expect(decode(addon, huge, unchanged(PIXEL)).failure).toBe("too-large");

    const end = bytes.length - 2;
    const scan = bytes.slice(Buffer.from(bytes).lastIndexOf(Buffer.from([0xff, 0xda])), end);
    const copies = Array.from({ length: 500 }, () => scan);
    const bomb = Buffer.concat([bytes.slice(0, end), ...copies, bytes.slice(end)]);
    expect(decode(addon, Uint8Array.from(bomb), unchanged(PIXEL)).failure).toBe("too-large");
  });
});
