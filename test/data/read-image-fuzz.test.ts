// Damaged files end in pixels or in an ImageFailure: never in another error, never in a hang.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "@jest/globals";

import { ImageFailure } from "../../src/data/failure.js";
import { evaluationPlacement } from "../../src/data/placement.js";
import { readImage } from "../../src/data/read-image.js";
import { sharp } from "../../src/data/sharp.js";
import { randomStream } from "../../src/util/random.js";
import { IMAGES } from "../helpers/images.js";

const DAMAGES = 25; // of each file

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "repkit-fuzz-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fixture = (name: string) => () => readFileSync(`${IMAGES}/${name}`);
const small = () => sharp(`${IMAGES}/gray.jpg`).resize(20, 15).toColourspace("srgb").removeAlpha();

/** A bitmap of 20 x 15 pixels. */
async function bitmap(): Promise<Buffer> {
  const head = Buffer.alloc(54);
  head.write("BM");
  head.writeUInt32LE(54, 10);
  head.writeUInt32LE(40, 14);
  head.writeInt32LE(20, 18);
  head.writeInt32LE(15, 22);
  head.writeUInt16LE(24, 28);
  return Buffer.concat([head, await small().raw().toBuffer()]);
}

test.each<[string, () => Buffer | Promise<Buffer>]>([
  ...[
    ...["one_pixel.jpg", "small.jpg", "progressive.jpg", "exif_orientation6.jpg"],
    ...["cmyk.jpg", "truncated.jpg", "one_pixel.png", "png_named.JPEG", "gray16.png"],
    ...["palette.png", "picture.webp"],
  ].map((name): [string, () => Buffer] => [name, fixture(name)]),
  ["gif", () => small().gif().toBuffer()],
  ["tiff", () => small().tiff({ compression: "deflate" }).toBuffer()],
  ["bmp", bitmap],
  [
    "ppm",
    async () => Buffer.concat([Buffer.from("P6 20 15 255\n"), await small().raw().toBuffer()]),
  ],
])("%s", async (name, load) => {
  const original = await load();
  const random = randomStream(0, name);
  const below = (count: number) => Math.floor(random() * count);
  const path = join(folder, "damaged");
  const out = new Uint8Array(56 * 56 * 3);
  let failures = 0;
  for (let damage = 0; damage < DAMAGES; damage++) {
    let bytes = Buffer.from(original);
    // Half of the flips hit the header.
    const flips = below(8);
    for (let flip = 0; flip < flips; flip++) {
      const reach = flip % 2 === 0 ? Math.min(200, bytes.length) : bytes.length;
      bytes[below(reach)]! ^= 1 << below(8);
    }
    if (flips === 0 || random() < 0.3) bytes = bytes.subarray(0, 1 + below(bytes.length - 1));
    writeFileSync(path, bytes);
    const options = { lenient: random() < 0.3, exifOrientation: random() < 0.3 };
    try {
      await readImage(path, evaluationPlacement(64, 56), out, options);
    } catch (error) {
      if (!(error instanceof ImageFailure)) throw error;
      expect(error.reason).toMatch(/^[^\n]{5,300}$/);
      failures++;
    }
  }
  expect(failures).toBeGreaterThan(0);
});
