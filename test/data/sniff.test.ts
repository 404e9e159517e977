import { readFileSync } from "node:fs";

import { describe, expect, test } from "@jest/globals";

import { lacksEnd, sniffFormat } from "../../src/data/sniff.js";
import { decodedReferences, IMAGES } from "../helpers/images.js";

const bytes = (text: string) => Buffer.from(text.padEnd(20, "\0"), "latin1");

describe("sniffFormat", () => {
  test("goes by content", () => {
    const odd = {
      "rgba.png": "png",
      "rgb16.png": "png",
      "gray16.png": "png",
      "palette.png": "png",
    };
    const names = {
      ...odd,
      "one_pixel.png": "png",
      "picture.webp": "webp",
      "png_named.JPEG": "png",
    };
    for (const [file] of decodedReferences) {
      const format = (names as Record<string, string>)[file] ?? "jpeg";
      expect([file, sniffFormat(readFileSync(`${IMAGES}/${file}`))]).toEqual([file, format]);
    }
  });

  test.each([
    ["GIF89a", "gif"],
    ["GIF87a", "gif"],
    ["II*\0", "tiff"],
    ["MM\0*", "tiff"],
    ["MM\0+", "tiff"],
    ["BM............\x28\0\0\0", "bmp"],
    ["P5\n2 2", "netpbm"],
    ["P6 2 2", "netpbm"],
  ])("%j is %s", (text, format) => {
    expect(sniffFormat(bytes(text))).toBe(format);
  });

  test.each([
    "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "<?xml version='1.0'?>",
    "%PDF-1.7",
    "\0\0\0\x18ftypheic",
    "\0\0\0\x18ftypavif",
    "\0\0\0\x0cjP  \r\n\x87\n", // JPEG 2000
    "\xff\x0a", // JPEG XL
    "BMW cars are not bitmaps",
    "P7\n",
    "P6x",
    "RIFF....WAVE",
    "\xff\xd8",
    "",
  ])("%j is none, whatever a decoder may know", (text) => {
    expect(sniffFormat(bytes(text))).toBeUndefined();
  });
});

describe("lacksEnd", () => {
  test.each([
    ["png", "rgba.png"],
    ["webp", "picture.webp"],
  ] as const)("%s", (format, file) => {
    const whole = readFileSync(`${IMAGES}/${file}`);
    expect(lacksEnd(whole, format)).toBe(false);
    expect(lacksEnd(whole.subarray(0, whole.length - 9), format)).toBe(true);
    expect(lacksEnd(whole.subarray(0, 9), format)).toBe(true);
  });

  test("tiff: the directory", () => {
    const file = Buffer.alloc(40);
    file.write("II*\0\x14\0\0\0\0\0", "latin1");
    file.writeUInt16LE(1, 20); // one entry of 12 bytes from 22 on
    expect(lacksEnd(file, "tiff")).toBe(false);
    expect(lacksEnd(file.subarray(0, 33), "tiff")).toBe(true);
    expect(lacksEnd(file.subarray(0, 21), "tiff")).toBe(true);
    expect(lacksEnd(file.subarray(0, 9), "tiff")).toBe(true);
    file.write("MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x20", "latin1");
    expect(lacksEnd(file, "tiff")).toBe(false);
    expect(lacksEnd(file.subarray(0, 39), "tiff")).toBe(true);
  });
});
