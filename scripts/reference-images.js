// The part of check-reference.js that reads images: every output bit for bit, on the portable path and, where
// it is built, the native one.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** @import { Place } from "../src/data/types.js" */
/** @import { JpegReader, ReadImageOptions } from "../src/data/read-image.js" */
/** @typedef {{ width: number, height: number, rgb_sha256: string, outputs: string[], output_sha256?: Record<string, string> }} Decoded */
/** @typedef {Decoded & { status: "ok" } | { status: "error", error: string, lenient?: Decoded }} Expected */
/** @typedef {Record<string, { data_offsets: [number, number] }>} Tensors */
/** @typedef {{ name: string, path: string, passes: boolean, text: string }} Report */

/**
 * A module of the build, which need not exist when this file is linted.
 * @param {string} name
 * @returns {Promise<unknown>}
 */
const built = (name) => import(new URL(`../dist/data/${name}.js`, import.meta.url).href);

/** @typedef {typeof import("../src/data/placement.js")} Placement */
/** @typedef {typeof import("../src/data/read-image.js")} Reading */
/** @typedef {typeof import("../src/data/jpeg/addon.js")} Addon */
const { boxPlacement, evaluationPlacement } = /** @type {Placement} */ (await built("placement"));
const { readImage } = /** @type {Reading} */ (await built("read-image"));
const { jpegAddon } = /** @type {Addon} */ (await built("jpeg/addon"));

/** @param {Uint8Array} bytes */
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/**
 * One report for each file of a folder like test/fixtures/images, and for each path by which it is read.
 * @param {string} folder
 * @returns {AsyncGenerator<Report>}
 */
export async function* checkImages(folder) {
  /**
   * @param {string} name
   * @returns {unknown}
   */
  const json = (name) => JSON.parse(readFileSync(join(folder, name), "utf8"));
  const references = /** @type {Record<string, Expected>} */ (json("expected.json"));
  const boxes = /** @type {Record<string, number[][]>} */ (json("boxes.json"));
  const container = readFileSync(join(folder, "expected.safetensors"));
  const start = 8 + Number(container.readBigUInt64LE(0));
  /** @type {unknown} */
  const header = JSON.parse(container.toString("utf8", 8, start));
  const tensors = /** @type {Tensors} */ (header);
  const jpeg = jpegAddon();
  let nativeReads = 0;
  /** @type {JpegReader} */
  const counted = {
    resampleJpeg: (...args) => {
      const failure = jpeg?.resampleJpeg(...args);
      if (failure !== "unsupported") nativeReads++;
      return failure;
    },
  };
  /** @type {Record<string, ReadImageOptions>} */
  const paths = { portable: {}, ...(jpeg && { native: { jpeg: counted } }) };

  /**
   * The placement that made an output.
   * @param {string} output
   * @returns {Place}
   */
  function placeOf(output) {
    const [file = "", what = ""] = output.split("/");
    const box = /^box(\d+)_(\d+)$/.exec(what);
    if (box === null) {
      const [resize, crop] = what.match(/\d+/g) ?? [];
      return evaluationPlacement(Number(resize), Number(crop));
    }
    const [top = 0, left = 0, height = 0, width = 0] = boxes[file]?.[Number(box[1])] ?? [];
    return () => boxPlacement({ left, top, width, height }, Number(box[2]));
  }

  /**
   * @param {string} name
   * @param {Decoded} reference
   * @param {ReadImageOptions} options
   * @returns {Promise<Omit<Report, "name" | "path">>}
   */
  async function compare(name, { outputs, ...reference }, options) {
    const { width, height, output_sha256: hashes = {} } = reference;
    /**
     * @param {Place} place
     * @returns {Promise<Uint8Array>}
     */
    const read = async (place) => {
      const { window } = place(width, height);
      const out = new Uint8Array(window.width * window.height * 3);
      await readImage(join(folder, name), place, out, options);
      return out;
    };
    const box = { left: 0, top: 0, width, height };
    const decoded = await read(() => ({ box, width, height, window: box, flip: false }));
    const isDecoded = sha256(decoded) === reference.rgb_sha256;
    let [worst, sum, count, different] = [0, 0, 0, 0];
    for (const output of outputs) {
      const tensor = tensors[output];
      if (tensor === undefined) throw new Error(`${output} is not in expected.safetensors`);
      const [from, to] = tensor.data_offsets;
      const expected = container.subarray(start + from, start + to);
      const actual = await read(placeOf(output));
      if (!expected.equals(actual)) different++;
      expected.forEach((value, i) => {
        const difference = Math.abs(value - (actual[i] ?? NaN));
        if (!(difference <= worst)) worst = difference;
        sum += difference;
      });
      count += expected.length;
    }
    for (const [output, hash] of Object.entries(hashes)) {
      if (sha256(await read(placeOf(output))) !== hash) different++;
    }
    const all = outputs.length + Object.keys(hashes).length;
    const equal = `${all - different} of ${all} outputs bit for bit`;
    const figures = `, those kept by ${worst} at most, ${(sum / count).toFixed(3)} on average`;
    const text = `${isDecoded ? "" : "decoded otherwise; "}${equal}${worst === 0 ? "" : figures}`;
    return { passes: isDecoded && different === 0, text };
  }

  for (const [name, reference] of Object.entries(references)) {
    for (const [path, options] of Object.entries(paths)) {
      nativeReads = 0;
      if (reference.status === "ok") {
        const result = await compare(name, reference, options);
        // Only JPEG files are read natively, and not all of them.
        if (path === "portable" || nativeReads > 0) yield { name, path, ...result };
        continue;
      }
      if (path !== "portable") continue;
      const out = new Uint8Array(3);
      const found = await readImage(
        join(folder, name),
        evaluationPlacement(1, 1),
        out,
        options,
      ).then(
        () => "an image",
        (/** @type {Error & { failure?: string }} */ error) => error.failure ?? error.message,
      );
      const passes = found === reference.error;
      const text = passes ? `refused: ${found}` : `expected ${reference.error}, found ${found}`;
      yield { name, path, passes, text };
      if (reference.lenient !== undefined) {
        const lenient = await compare(name, reference.lenient, { ...options, lenient: true });
        yield { name: `${name}, lenient`, path, ...lenient };
      }
    }
  }
}
