import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { describe, expect, test } from "@jest/globals";

import { decodeImage, decodeJpeg, isTurned } from "../../src/data/decode.js";
import type { ImageFile } from "../../src/data/image-file.js";
import { readJpegHeader } from "../../src/data/jpeg-header.js";
import { sharp } from "../../src/data/sharp.js";
import { sniffFormat } from "../../src/data/sniff.js";
import type { Box, RgbImage } from "../../src/data/types.js";
import { decodedReferences, imageReferences, IMAGES } from "../helpers/images.js";

const file = (name: string): ImageFile => ({
  path: name,
  bytes: readFileSync(`${IMAGES}/${name}`),
});

async function decode(image: ImageFile, options = {}): Promise<RgbImage> {
  const format = sniffFormat(image.bytes);
  if (format === undefined) throw new Error("not an image");
  if (format !== "jpeg") return decodeImage(image, format, options);
  const header = readJpegHeader(image);
  const { width, height } = header;
  return decodeJpeg(image, header, { left: 0, top: 0, width, height }, options);
}

const sha256 = ({ data }: RgbImage) => createHash("sha256").update(data).digest("hex");
const at = ({ width, data }: RgbImage, x: number, y: number) => [
  ...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3),
];

describe("decoding gives Pillow's pixels", () => {
  test.each(decodedReferences)("%s", async (name, { width, height, rgb_sum, rgb_sha256 }) => {
    const image = await decode(file(name));
    expect([image.width, image.height]).toEqual([width, height]);
    const sums = [0, 0, 0];
    image.data.forEach((value, index) => (sums[index % 3]! += value));
    expect(sums).toEqual(rgb_sum);
    expect(sha256(image)).toBe(rgb_sha256);
  });

  test("of a truncated file when asked to be lenient", async () => {
    const reference = imageReferences["truncated.jpg"]!;
    const expected = reference.status === "error" ? reference.lenient?.rgb_sha256 : undefined;
    expect(sha256(await decode(file("truncated.jpg"), { lenient: true }))).toBe(expected);
  });
});

describe("parts of JPEG files", () => {
  const boxes: Box[] = [
    { left: 0, top: 0, width: 240, height: 9 },
    { left: 13, top: 31, width: 100, height: 77 },
    { left: 239, top: 158, width: 1, height: 1 },
  ];

  test.each(["gray.jpg", "cmyk.jpg", "exif_orientation6.jpg"])("%s", async (name) => {
    const image = file(name);
    const header = readJpegHeader(image);
    const whole = await decode(image);
    for (const box of boxes) {
      const part = await decodeJpeg(image, header, box);
      expect([part.width, part.height]).toEqual([box.width, box.height]);
      expect(at(part, 0, 0)).toEqual(at(whole, box.left, box.top));
      const right = box.width - 1;
      const bottom = box.height - 1;
      expect(at(part, right, bottom)).toEqual(at(whole, box.left + right, box.top + bottom));
    }
  });

  test("a file without its end is refused even where the part is there", async () => {
    const image = file("truncated.jpg");
    const top = { left: 0, top: 0, width: 20, height: 5 };
    const failed = decodeJpeg(image, readJpegHeader(image), top);
    await expect(failed).rejects.toMatchObject({ failure: "truncated", path: "truncated.jpg" });
  });
});

test("upright: orientation 6 is turned clockwise", async () => {
  const image = file("exif_orientation6.jpg");
  expect(await isTurned(image)).toBe(true);
  expect(await isTurned(file("gray.jpg"))).toBe(false);
  const stored = await decode(image);
  const upright = await decode(image, { upright: true });
  expect([upright.width, upright.height]).toEqual([stored.height, stored.width]);
  for (const [x, y] of [
    [0, 0],
    [159, 0],
    [17, 201],
  ] as const) {
    expect(at(upright, x, y)).toEqual(at(stored, y, stored.height - 1 - x));
  }
});

describe("formats without a fixture", () => {
  const pixels = Buffer.from([10, 20, 30, 200, 100, 50]);
  const source = () => sharp(pixels, { raw: { width: 2, height: 1, channels: 3 } });
  const encoded = async (image: ReturnType<typeof source>) =>
    decode({ path: "x", bytes: await image.toBuffer() });

  test("TIFF and GIF", async () => {
    expect([...(await encoded(source().tiff({ compression: "lzw" }))).data]).toEqual([...pixels]);
    expect([...(await encoded(source().gif({ colours: 4, dither: 0 }))).data]).toEqual([...pixels]);
  });

  test("TIFF of 16 bits: the high byte of colours, clipped gray", async () => {
    const deep = source().toColourspace("rgb16").tiff({ compression: "lzw" });
    expect([...(await encoded(deep)).data]).toEqual([...pixels]);
    const gray = source().toColourspace("grey16").tiff({ compression: "lzw" });
    expect([...(await encoded(gray)).data]).toEqual([255, 255, 255, 255, 255, 255]);
  });

  test("TIFF for print or measurement is refused", async () => {
    const cmyk = encoded(source().toColourspace("cmyk").tiff({ compression: "lzw" }));
    await expect(cmyk).rejects.toMatchObject({
      failure: "unsupported",
      reason: "a TIFF of cmyk, uchar pixels cannot be decoded",
    });
  });
});

describe("damaged files", () => {
  test.each(["rgba.png", "picture.webp", "palette.png"])("%s without its end", async (name) => {
    const { path, bytes } = file(name);
    const cut = { path, bytes: bytes.subarray(0, Math.floor(bytes.length / 2)) };
    await expect(decode(cut)).rejects.toMatchObject({ failure: "truncated" });
  });

  test("a broken PNG is corrupt", async () => {
    const { path, bytes } = file("rgba.png");
    const broken = Buffer.from(bytes);
    broken.fill(0x55, 2000, 2400);
    await expect(decode({ path, bytes: broken })).rejects.toMatchObject({ failure: "corrupt" });
  });

  test("a PNG that claims too many pixels", async () => {
    const { path, bytes } = file("one_pixel.png");
    const huge = Buffer.from(bytes);
    huge.writeUInt32BE(60_000, 16);
    huge.writeUInt32BE(60_000, 20);
    huge.writeUInt32BE(crc32(huge.subarray(12, 29)), 29);
    await expect(decode({ path, bytes: huge })).rejects.toMatchObject({ failure: "too-large" });
  });
});

/** PNG's checksum. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
