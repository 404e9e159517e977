/** A small drawn data set, for trying everything without a download. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

import { fileError, invalidArgument, RepkitError } from "../errors.js";
import { makeFolder } from "../util/make-folder.js";
import { randomStream } from "../util/random.js";
import { describeSystemError } from "../util/system-error.js";
import { drawPicture } from "./sample/picture.js";
import { MAX_CLASSES, type SampleClass, sampleClasses } from "./sample/shapes.js";
import { sharp } from "./sharp.js";

export interface SampleDataOptions {
  /** Default: 10, which differ by shape; up to 100, which differ by shape and colour. */
  readonly classes?: number;
  /** Images per class. Default: 60. */
  readonly train?: number;
  /** Images per class. Default: 20. */
  readonly val?: number;
  /** Default: 0. The same seed gives the same files. */
  readonly seed?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface SampleData {
  /** Absolute path. */
  readonly dir: string;
  readonly classes: number;
  /** Images in all. */
  readonly train: number;
  readonly val: number;
  /** Of all images. */
  readonly bytes: number;
}

interface Picture {
  readonly kind: SampleClass;
  /** Relative to the data set's folder; also names the stream of its random numbers. */
  readonly path: string;
}

const AT_ONCE = 4; // images being compressed, in libuv's threads

/**
 * Writes `train/<class>/*.jpg` and `val/<class>/*.jpg` into `dir`, which must not exist or be empty.
 * They are made in a temporary folder inside and put in place when all are there.
 * @throws RepkitError "usage" or "file"
 */
export async function writeSampleData(
  dir: string,
  options: SampleDataOptions = {},
): Promise<SampleData> {
  const { classes = 10, train = 60, val = 20, seed = 0, onProgress } = options;
  checkCount("classes", classes, MAX_CLASSES);
  checkCount("train", train);
  checkCount("val", val);
  const root = resolve(dir);
  const kinds = sampleClasses(classes);
  const pictures = [...plan("train", kinds, train), ...plan("val", kinds, val)];
  try {
    const isNew = makeEmpty(root);
    const temporary = join(root, `.repkit-${randomBytes(8).toString("hex")}.tmp`);
    const remove = () => {
      // Again where a file is still being written as the process exits.
      rmSync(temporary, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
      if (isNew) removeIfEmpty(root);
    };
    // A signal ends the process by `process.exit`.
    process.once("exit", remove);
    try {
      const bytes = await writePictures(temporary, pictures, seed, onProgress);
      for (const split of ["train", "val"]) renameSync(join(temporary, split), join(root, split));
      return { dir: root, classes, train: classes * train, val: classes * val, bytes };
    } finally {
      process.off("exit", remove);
      remove();
    }
  } catch (error) {
    if (error instanceof RepkitError) throw error;
    if ((error as { syscall?: unknown } | null)?.syscall === undefined) throw error;
    throw fileError(root, `cannot write: ${describeSystemError(error)}`, { cause: error });
  }
}

function checkCount(name: string, value: number, most = Number.MAX_SAFE_INTEGER): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return;
  const range = most === Number.MAX_SAFE_INTEGER ? "from 1" : `from 1 to ${most}`;
  throw invalidArgument(`--${name}`, `a whole number ${range}`, value);
}

function plan(split: string, kinds: readonly SampleClass[], count: number): readonly Picture[] {
  const digits = Math.max(4, `${count}`.length);
  return kinds.flatMap((kind) =>
    Array.from({ length: count }, (_, i) => {
      const number = `${i + 1}`.padStart(digits, "0");
      return { kind, path: `${split}/${kind.name}/${kind.name}_${number}.jpg` };
    }),
  );
}

/** Whether the folder was not there. */
function makeEmpty(root: string): boolean {
  const isNew = makeFolder(root);
  if (isNew || readdirSync(root).length === 0) return isNew;
  throw fileError(root, "is not empty; name a folder that does not exist yet");
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    return; // it holds the data set, or something of somebody else's
  }
}

/** Returns the bytes written. */
async function writePictures(
  folder: string,
  pictures: readonly Picture[],
  seed: number,
  onProgress: SampleDataOptions["onProgress"],
): Promise<number> {
  // Not in another thread, which could make them again while a signal has them removed.
  for (const path of new Set(pictures.map(({ path }) => join(folder, path, "..")))) {
    mkdirSync(path, { recursive: true });
  }
  let next = 0;
  let done = 0;
  let bytes = 0;
  const failures: unknown[] = [];
  const work = async () => {
    for (let picture = pictures[next++]; picture !== undefined; picture = pictures[next++]) {
      if (failures.length > 0) return;
      const jpeg = await encode(picture, seed);
      await writeFile(join(folder, picture.path), jpeg);
      bytes += jpeg.length;
      onProgress?.(++done, pictures.length);
    }
  };
  // All have ended before the folder may be removed.
  const lanes = Array.from({ length: AT_ONCE }, () => work().catch((e) => failures.push(e)));
  await Promise.all(lanes);
  if (failures.length > 0) throw failures[0];
  return bytes;
}

async function encode({ kind, path }: Picture, seed: number): Promise<Buffer> {
  const random = randomStream(seed, `picture/${path}`);
  const { width, height, data } = drawPicture(kind, random);
  const quality = Math.round(75 + 20 * random());
  return sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality })
    .toBuffer();
}
