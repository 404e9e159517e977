// BMP and netpbm: small files written here byte by byte.

import { describe, expect, test } from "@jest/globals";

import { readBmp } from "../../src/data/bmp.js";
import { readNetpbm } from "../../src/data/netpbm.js";

interface Bmp {
  readonly size: readonly [number, number];
  readonly bits: number;
  readonly compression?: number;
  readonly colors?: number;
  readonly palette?: readonly number[];
  readonly masks?: readonly number[];
  readonly rows: readonly (readonly number[])[];
  /** Of the pixels, if it is a wrong one. */
  readonly offset?: number;
}

function bmp(options: Bmp): { path: string; bytes: Buffer } {
  const { size, bits, compression = 0, colors = 0, palette = [], masks = [], rows } = options;
  const head = Buffer.alloc(54);
  head.write("BM");
  head.writeUInt32LE(options.offset ?? 54 + palette.length + masks.length * 4, 10);
  head.writeUInt32LE(40, 14);
  head.writeInt32LE(size[0], 18);
  head.writeInt32LE(size[1], 22);
  head.writeUInt16LE(1, 26);
  head.writeUInt16LE(bits, 28);
  head.writeUInt32LE(compression, 30);
  head.writeUInt32LE(colors, 46);
  const maskBytes = Buffer.alloc(masks.length * 4);
  masks.forEach((mask, index) => maskBytes.writeUInt32LE(mask, index * 4));
  const parts = [head, maskBytes, Buffer.from(palette), ...rows.map((row) => Buffer.from(row))];
  return { path: "x.bmp", bytes: Buffer.concat(parts) };
}

const RED_GREEN = [0, 0, 255, 0, 0, 255, 0, 0]; // stored blue, green, red, 0

describe("readBmp", () => {
  const read = (options: Bmp) => [...readBmp(bmp(options), false).data];

  test("24 bits: rows from the bottom, blue first, padded to 4 bytes", () => {
    const rows = [
      [1, 2, 3, 4, 5, 6, 0, 0],
      [7, 8, 9, 10, 11, 12, 0, 0],
    ];
    expect(read({ size: [2, 2], bits: 24, rows })).toEqual([9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4]);
    expect(read({ size: [2, -2], bits: 24, rows })).toEqual([
      3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10,
    ]);
  });

  test.each([
    [1, [0b01000000, 0, 0, 0]],
    [4, [0x01, 0x00, 0, 0]],
    [8, [0, 1, 0, 0]],
  ])("%i bits: a palette", (bits, row) => {
    const image = { size: [3, 1], bits, colors: 2, palette: RED_GREEN, rows: [row] } as const;
    const colours = [255, 0, 0, 0, 255, 0, 255, 0, 0];
    expect(read(image)).toEqual(colours);
    expect(read({ ...image, offset: 54 })).toEqual(colours); // an offset that ignores the palette
  });

  test("indices outside of the palette are gray", () => {
    const rows = [[200, 1, 0, 0]];
    const image = { size: [2, 1], bits: 8, colors: 2, palette: RED_GREEN, rows } as const;
    expect(read(image)).toEqual([200, 200, 200, 0, 255, 0]);
  });

  test("16 and 32 bits", () => {
    const five = { size: [2, 1], bits: 16, rows: [[0x1f, 0x7c, 0x00, 0x02]] } as const;
    expect(read(five)).toEqual([255, 0, 255, 0, 131, 0]); // 16 * 255 / 31
    const masks = [0xf800, 0x7e0, 0x1f];
    const six = { ...five, compression: 3, masks, rows: [[0x00, 0xf8, 0x20, 0x00]] } as const;
    expect(read(six)).toEqual([255, 0, 0, 0, 4, 0]); // 255 / 63
    const full = { size: [1, 1], bits: 32, rows: [[1, 2, 3, 4]] } as const;
    expect(read(full)).toEqual([3, 2, 1]);
    const rgba = { ...full, compression: 3, masks: [0xff, 0xff00, 0xff0000] };
    expect(read(rgba)).toEqual([1, 2, 3]);
    const high = { ...full, compression: 3, masks: [0xff000000, 0xff0000, 0xff00] };
    expect(read(high)).toEqual([4, 3, 2]);
  });

  test.each<[string, Bmp]>([
    ["truncated", { size: [2, 2], bits: 24, rows: [[1, 2, 3, 4, 5, 6, 0, 0]] }],
    ["unsupported", { size: [2, 1], bits: 8, compression: 1, rows: [[2, 0, 0, 1]] }],
    ["unsupported", { size: [2, 1], bits: 5, rows: [[0, 0, 0, 0]] }],
    ["unsupported", { size: [1, 1], bits: 32, compression: 3, masks: [0xff1, 2, 4], rows: [[0]] }],
    ["corrupt", { size: [0, 1], bits: 24, rows: [] }],
    ["too-large", { size: [30_000, 30_000], bits: 1, rows: [] }],
  ])("%s", (failure, options) => {
    expect(() => readBmp(bmp(options), false)).toThrow(expect.objectContaining({ failure }));
  });

  test("lenient: missing rows are black", () => {
    const options = { size: [1, 2], bits: 24, rows: [[1, 2, 3, 0]] } as const;
    expect([...readBmp(bmp(options), true).data]).toEqual([0, 0, 0, 3, 2, 1]);
  });
});

describe("readNetpbm", () => {
  const file = (header: string, ...samples: number[]) => ({
    path: "x.ppm",
    bytes: Buffer.concat([Buffer.from(header, "latin1"), Buffer.from(samples)]),
  });
  const read = (header: string, ...samples: number[]) => [
    ...readNetpbm(file(header, ...samples), false).data,
  ];

  test("8 bits, comments and any white space", () => {
    expect(read("P6 1\t2\r\n255\n", 1, 2, 3, 4, 5, 6)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(read("P5\n# by hand\n2 #x\n 1\n255\n", 7, 10)).toEqual([7, 7, 7, 10, 10, 10]);
  });

  test("other maxima are stretched to 255", () => {
    expect(read("P5 3 1 100\n", 0, 50, 100)).toEqual([0, 0, 0, 128, 128, 128, 255, 255, 255]);
    expect(read("P6 1 1 1000\n", 1, 244, 3, 232, 0, 0)).toEqual([128, 255, 0]); // 500, 1000, 0
  });

  test("16-bit gray is clipped, as Pillow does", () => {
    expect(read("P5 2 1 65535\n", 0, 9, 1, 0)).toEqual([9, 9, 9, 255, 255, 255]);
  });

  test.each([
    ["truncated", "P6 2 2 255\n", [1, 2, 3]],
    ["truncated", "P6 2 ", []],
    ["corrupt", "P6 2 -2 255\n", []],
    ["corrupt", "P6 0 2 255\n", []],
    ["corrupt", "P6 2 2 70000\n", []],
    ["corrupt", "P6 22222222222 2 255\n", []],
    ["too-large", "P6 60000 60000 255\n", []],
    ["unsupported", "P3 1 1 255\n1 2 3", []],
    ["unsupported", "P4 1 1\n", [0]],
  ])("%s: %j", (failure, header, samples) => {
    const image = file(header, ...samples);
    expect(() => readNetpbm(image, false)).toThrow(expect.objectContaining({ failure }));
  });

  test("lenient: what is missing is black", () => {
    expect([...readNetpbm(file("P5 2 1 255\n", 8), true).data]).toEqual([8, 8, 8, 0, 0, 0]);
  });
});
