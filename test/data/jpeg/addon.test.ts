// The door to the native path: what it refuses, threads, and when it is closed.

import { Worker } from "node:worker_threads";

import { describe, expect, jest, test } from "@jest/globals";

import { jpegAddon } from "../../../src/data/jpeg/addon.js";
import type { JpegAddon } from "../../../src/data/jpeg/native.js";
import {
  decode,
  describeJpeg,
  jpegFixture,
  numbersOf,
  unchanged,
} from "../../helpers/jpeg-addon.js";

jest.setTimeout(60_000); // threads start slowly on a busy machine

const PIXEL = { left: 0, top: 0, width: 1, height: 1 };

describeJpeg("the native path", (addon, path) => {
  const bytes = jpegFixture("gray.jpg");
  const call = (placement: Int32Array, out = new Uint8Array(3)) =>
    addon.resampleJpeg(bytes, placement, out);
  const fields = numbersOf(unchanged(PIXEL));
  const withField = (index: number, value: number) => fields.with(index, value);

  test.each([
    ["box", withField(0, -1)],
    ["box", withField(3, 0)],
    ["width and height", withField(4, 0)],
    ["window", withField(6, 1)],
    ["window", withField(9, 2)],
    ["window", withField(8, -2)],
    ["expected 11 numbers, received 10", fields.slice(1)],
  ])("refuses a placement that makes no sense: %s", (what, placement) => {
    expect(() => call(placement)).toThrow(`placement: ${what}`);
  });

  test("refuses buffers of another size or kind", () => {
    expect(() => call(fields, new Uint8Array(4))).toThrow("out: expected 3 bytes, received 4");
    const pixels = new Uint8Array(11);
    expect(() => addon.resample(pixels, 2, 2, fields, new Uint8Array(3))).toThrow(
      "pixels: expected width x height x 3 bytes, received 11",
    );
    expect(() => addon.resample(pixels, 0, 2, fields, new Uint8Array(3))).toThrow("width: ");
    expect(() =>
      addon.resample(new Uint8Array(12), 2, 2, withField(0, 2), new Uint8Array(3)),
    ).toThrow("placement: box: expected one within the image");
    const loose = addon as unknown as Record<keyof JpegAddon, (...args: unknown[]) => unknown>;
    expect(() => loose.resampleJpeg(bytes, [...fields], new Uint8Array(3))).toThrow(
      "an Int32Array",
    );
    expect(() => loose.resampleJpeg("bytes", fields, new Uint8Array(3))).toThrow("a Uint8Array");
    expect(() => loose.resampleJpeg()).toThrow("bytes: expected a Uint8Array");
  });

  test("reads from and writes to part of a buffer, shared or not", () => {
    const shared = new Uint8Array(new SharedArrayBuffer(10)).fill(7);
    const embedded = new Uint8Array(new SharedArrayBuffer(bytes.length + 2)).subarray(1, -1);
    embedded.set(bytes);
    expect(addon.resampleJpeg(embedded, fields, shared.subarray(4, 7))).toBeUndefined();
    const { pixels } = decode(addon, bytes, unchanged(PIXEL));
    expect([...shared]).toEqual([7, 7, 7, 7, ...pixels, 7, 7, 7]);
  });

  test("serves several threads, one of which is ended at work", async () => {
    const box = { left: 3, top: 5, width: 90, height: 60 };
    const placement = {
      ...unchanged(box),
      width: 60,
      height: 60,
      window: { ...box, left: 0, top: 0, width: 60 },
    };
    const { pixels } = decode(addon, bytes, placement);
    const program = `
      const { parentPort, workerData } = require("node:worker_threads");
      const addon = { exports: {} };
      process.dlopen(addon, workerData.path);
      const out = new Uint8Array(workerData.size);
      const once = () => addon.exports.resampleJpeg(workerData.bytes, workerData.placement, out);
      for (let i = 0; i < 200; i++) once();
      parentPort.postMessage(out);
      while (workerData.isEndless) once();
    `;
    const start = (isEndless: boolean) =>
      new Worker(program, {
        eval: true,
        workerData: {
          path,
          bytes,
          placement: numbersOf(placement),
          size: pixels.length,
          isEndless,
        },
      });
    const workers = [false, false, false, true].map(start);
    const answers = await Promise.all(
      workers.map(
        (worker) =>
          new Promise<Uint8Array>((resolve, reject) => {
            worker.once("message", resolve).once("error", reject);
          }),
      ),
    );
    await Promise.all(workers.map((worker) => worker.terminate()));
    for (const answer of answers) expect(Buffer.compare(answer, pixels)).toBe(0);
    expect(decode(addon, bytes, placement).pixels).toEqual(pixels);
  });

  test("says what it was compiled against", () => {
    expect(addon.describe().version).toMatch(/^\d+\.\d+/);
  });
});

describe("jpegAddon", () => {
  test("is undefined where nothing is built, and where REPKIT_JPEG=portable says so", () => {
    expect(jpegAddon({ REPKIT_CACHE: "/no/such/folder" })).toBeUndefined();
    expect(jpegAddon({ ...process.env, REPKIT_JPEG: "portable" })).toBeUndefined();
  });
});
