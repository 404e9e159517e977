import { readFileSync } from "node:fs";

import { describe, expect, test } from "@jest/globals";

import { readJpegHeader } from "../../src/data/jpeg-header.js";
import { decodedReferences, IMAGES } from "../helpers/images.js";

const file = (name: string) => ({ path: name, bytes: readFileSync(`${IMAGES}/${name}`) });
const bytes = (...parts: string[]) => ({
  path: "x.jpg",
  bytes: Buffer.from(parts.join(""), "latin1"),
});

/** A segment: its marker, its length, its content. */
function segment(marker: number, content: string): string {
  const length = content.length + 2;
  return String.fromCharCode(0xff, marker, length >> 8, length & 255) + content;
}
const frame = (width: number, height: number, components: number, precision = 8) =>
  String.fromCharCode(precision, height >> 8, height & 255, width >> 8, width & 255, components) +
  "\x01\x11\0".repeat(components);
const START = "\xff\xd8";
const SCAN = segment(0xda, "\x01\x01\0\0\x3f\0") + "\x12\x34\xff\xd9";

describe("readJpegHeader", () => {
  test("of every JPEG fixture", () => {
    const jpegs = decodedReferences.filter(([name]) => /jpe?g$/i.test(name) && !/^png/.test(name));
    expect(jpegs).toHaveLength(13);
    for (const [name, { width, height }] of jpegs) {
      expect([name, readJpegHeader(file(name))]).toMatchObject([
        name,
        { width, height, isWhole: true },
      ]);
    }
    expect(readJpegHeader(file("cmyk.jpg")).components).toBe(4);
    expect(readJpegHeader(file("gray.jpg")).components).toBe(1);
    expect(readJpegHeader(file("exif_orientation6.jpg")).hasExif).toBe(true);
    expect(readJpegHeader(file("gray.jpg")).hasExif).toBe(false);
    expect(readJpegHeader(file("truncated.jpg"))).toMatchObject({ width: 240, isWhole: false });
  });

  test("fill bytes, stray bytes and thumbnails with sizes of their own", () => {
    const thumbnail = segment(0xe1, `Exif\0\0${START}${segment(0xc0, frame(9, 9, 1))}\xff\xd9`);
    const noise = "ab\xff\xff\xff";
    const image = bytes(START, thumbnail, noise, segment(0xc2, frame(300, 200, 3)).slice(1), SCAN);
    expect(readJpegHeader(image)).toEqual({
      width: 300,
      height: 200,
      components: 3,
      hasExif: true,
      isWhole: true,
    });
    const cut = { ...image, bytes: image.bytes.subarray(0, -2) };
    expect(readJpegHeader(cut).isWhole).toBe(false); // the thumbnail's end is not the image's
  });

  test.each([
    ["truncated", [START]],
    ["truncated", [START, "\xff\xe0\x10\0abc"]],
    ["truncated", [START, segment(0xc0, frame(3, 3, 3))]],
    ["corrupt", [START, SCAN]],
    ["corrupt", [START, "\xff\xd9"]],
    ["corrupt", [START, "\xff\xe0\0\x01"]],
    ["corrupt", [START, segment(0xc0, frame(3, 3, 3).slice(0, 9)), SCAN]],
    ["corrupt", [START, segment(0xc0, "\x08"), SCAN]],
    ["unsupported", [START, segment(0xc3, frame(3, 3, 3)), SCAN]],
    ["unsupported", [START, segment(0xc0, frame(3, 3, 3, 12)), SCAN]],
    ["unsupported", [START, segment(0xc0, frame(3, 3, 2)), SCAN]],
    ["unsupported", [START, segment(0xc0, frame(3, 0, 3)), SCAN]],
    ["too-large", [START, segment(0xc0, frame(65000, 65000, 3)), SCAN]],
  ])("%s: %j", (failure, parts) => {
    expect(() => readJpegHeader(bytes(...parts))).toThrow(expect.objectContaining({ failure }));
  });
});
