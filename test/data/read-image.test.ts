import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { boxPlacement, evaluationPlacement } from "../../src/data/placement.js";
import { type JpegReader, readImage, type ReadImageOptions } from "../../src/data/read-image.js";
import { RESIZE_KERNELS } from "../../src/data/sharp.js";
import type { Place } from "../../src/data/types.js";
import {
  decodedReferences,
  differenceFrom,
  IMAGES,
  outputsOf,
  placeOf,
} from "../helpers/images.js";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "repkit-read-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function read(path: string, place: Place, options: ReadImageOptions = {}) {
  const { window } = place(1000, 1000);
  const out = new Uint8Array(window.width * window.height * 3).fill(77);
  await readImage(path, place, out, options);
  return out;
}

const outputs = decodedReferences.flatMap(([file, reference]) =>
  outputsOf(reference).map((output): [string, string] => [output, file]),
);

function mirrored(pixels: Uint8Array, size: number): Uint8Array {
  const result = new Uint8Array(pixels.length);
  for (let pixel = 0; pixel < size * size; pixel++) {
    const to = pixel - 2 * (pixel % size) + size - 1;
    result.set(pixels.subarray(pixel * 3, pixel * 3 + 3), to * 3);
  }
  return result;
}

describe("readImage gives torchvision's pixels", () => {
  test.each(outputs)("%s", async (output, file) => {
    const place = placeOf(output);
    const pixels = await read(`${IMAGES}/${file}`, place);
    expect(differenceFrom(output, pixels)).toBeUndefined();
    const flipped = await read(`${IMAGES}/${file}`, (w, h) => ({ ...place(w, h), flip: true }));
    const size = Math.sqrt(pixels.length / 3);
    expect(differenceFrom(output, mirrored(flipped, size))).toBeUndefined();
  });

  test("of a truncated file when asked to be lenient", async () => {
    const output = "truncated.jpg/resize64_crop56_lenient";
    const pixels = await read(`${IMAGES}/truncated.jpg`, placeOf(output), { lenient: true });
    expect(differenceFrom(output, pixels)).toBeUndefined();
  });
});

describe("options", () => {
  const place = evaluationPlacement(64, 56);

  test("exifOrientation turns the image before it is placed", async () => {
    const path = `${IMAGES}/exif_orientation6.jpg`;
    const sizes: string[] = [];
    const spy: Place = (width, height) => {
      sizes.push(`${width}x${height}`);
      return boxPlacement({ left: 0, top: 0, width: 100, height: 100 }, 100);
    };
    const out = new Uint8Array(30_000);
    await readImage(path, spy, out);
    const corner = [...out.subarray(0, 3)];
    await readImage(path, spy, out, { exifOrientation: true });
    expect(sizes).toEqual(["240x160", "160x240"]);
    // Stored top left is top right when upright.
    const topRight = (width: number, height: number) =>
      boxPlacement({ left: width - 1, top: 0, width: 1, height: Math.min(1, height) }, 1);
    const pixel = new Uint8Array(3);
    await readImage(path, topRight, pixel, { exifOrientation: true });
    expect([...pixel]).toEqual(corner);
    // Others stay as they are.
    const upright = `${IMAGES}/cmyk.jpg`;
    const pixels = await read(upright, place, { exifOrientation: true });
    expect(pixels).toEqual(await read(upright, place));
  });

  test.each(RESIZE_KERNELS)("sharp's kernel %s is near, for JPEG and others", async (resize) => {
    const flipped: Place = (width, height) => ({ ...place(width, height), flip: true });
    for (const file of ["wide.jpg", "picture.webp", "cmyk.jpg"]) {
      const exact = await read(`${IMAGES}/${file}`, flipped);
      const other = await read(`${IMAGES}/${file}`, flipped, { resize });
      let sum = 0;
      other.forEach((value, index) => (sum += Math.abs(value - exact[index]!)));
      expect(sum).toBeGreaterThan(0);
      expect(sum / exact.length).toBeLessThan(resize === "nearest" ? 20 : 6);
    }
  });

  test("a placement is asked for once", async () => {
    for (const file of ["gray.jpg", "rgba.png", "exif_orientation6.jpg"]) {
      let calls = 0;
      const counting: Place = (width, height) => {
        calls++;
        return place(width, height);
      };
      const out = new Uint8Array(56 * 56 * 3);
      await readImage(`${IMAGES}/${file}`, counting, out, { exifOrientation: true });
      expect([file, calls]).toEqual([file, 1]);
    }
  });
});

describe("the native path", () => {
  const place: Place = () => ({
    box: { left: 1, top: 2, width: 30, height: 40 },
    width: 5,
    height: 6,
    window: { left: 1, top: 2, width: 3, height: 4 },
    flip: true,
  });
  const path = `${IMAGES}/gray.jpg`;

  test("gets the file's bytes and the placement in its order", async () => {
    const calls: unknown[] = [];
    const jpeg: JpegReader = {
      resampleJpeg(bytes, placement, out) {
        calls.push([bytes.length, ...placement]);
        out.fill(5);
        return undefined;
      },
    };
    const out = await read(path, place, { jpeg });
    expect(calls).toEqual([[readFileSync(path).length, 1, 2, 30, 40, 5, 6, 1, 2, 3, 4, 1]]);
    expect([...new Set(out)]).toEqual([5]);
  });

  test("what it does not support is decoded the other way; what is damaged is not", async () => {
    const answer = (failure: ReturnType<JpegReader["resampleJpeg"]>): JpegReader => ({
      resampleJpeg: () => failure,
    });
    const portable = await read(path, place);
    expect(await read(path, place, { jpeg: answer("unsupported") })).toEqual(portable);
    for (const failure of ["truncated", "corrupt", "too-large"] as const) {
      await expect(read(path, place, { jpeg: answer(failure) })).rejects.toMatchObject({ failure });
    }
  });

  test("is not asked for other formats, other kernels, cut files", async () => {
    const jpeg: JpegReader = {
      resampleJpeg: () => {
        throw new Error("asked");
      },
    };
    await read(`${IMAGES}/png_named.JPEG`, place, { jpeg });
    await read(path, place, { jpeg, resize: "linear" });
    await read(`${IMAGES}/truncated.jpg`, place, { jpeg, lenient: true });
    await expect(read(path, place, { jpeg })).rejects.toThrow("asked");
  });
});

describe("files that cannot be used", () => {
  const place = evaluationPlacement(64, 56);
  const failure = async (path: string) => {
    const error: unknown = await read(path, place).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: "ImageFailure", path, kind: "file" });
    const { failure: kind, reason } = error as { failure: string; reason: string };
    return `${kind}: ${reason}`;
  };

  test("by kind, in one line", async () => {
    expect(await failure(`${IMAGES}/truncated.jpg`)).toBe(
      "truncated: the end of the file is missing",
    );
    expect(await failure(`${IMAGES}/zero.jpg`)).toBe("empty: the file is empty");
    expect(await failure(`${IMAGES}/text.jpg`)).toBe(
      "not-an-image: is not an image of a known format",
    );
    expect(await failure(join(folder, "none.jpg"))).toBe("missing: no such file or folder");
    expect(await failure(`${IMAGES}/zero.jpg/x.jpg`)).toMatch(/^missing: /);
  });

  test("a folder, a device, a named pipe without a writer", async () => {
    mkdirSync(join(folder, "folder.jpg"));
    expect(await failure(join(folder, "folder.jpg"))).toBe("unreadable: is not a plain file");
    if (process.platform === "win32") return;
    expect(await failure("/dev/zero")).toBe("unreadable: is not a plain file");
    execFileSync("mkfifo", [join(folder, "pipe.jpg")]);
    expect(await failure(join(folder, "pipe.jpg"))).toBe("unreadable: is not a plain file");
  });

  test("a file of 2 GiB is not read", async () => {
    const path = join(folder, "huge.jpg");
    writeFileSync(path, "");
    truncateSync(path, 2 ** 31);
    expect(await failure(path)).toMatch(/^too-large: the file has 2147483648 bytes/);
  });
});
