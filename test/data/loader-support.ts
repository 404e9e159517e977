// What the tests of the loader share: a folder of small images of every kind, and batches as plain data.

import { createHash } from "node:crypto";
import { copyFileSync } from "node:fs";

import { type ImageFolder, openImageFolder } from "../../src/data/folder/index.js";
import { type EpochOptions, Loader, type LoaderOptions } from "../../src/data/loader.js";
import { RANDOM_RESIZED_CROP } from "../../src/data/placement.js";
import type { ImageBatch } from "../../src/data/types.js";
import type { EvaluationView, TrainingView } from "../../src/data/view.js";
import { IMAGES } from "../helpers/images.js";
import type { Tree } from "../helpers/trees.js";

/** By class; the order in the folder is this one. */
const FILES = {
  ants: ["cmyk.jpg", "gray.jpg", "gray16.png", "one_pixel.png", "palette.png"],
  bees: ["picture.webp", "png_named.JPEG", "progressive.jpg", "small.jpg"],
  cows: ["rgb16.png", "rgba.png", "subsampling444.jpg"],
} as const;

/** Paths below the folder, in its order. */
export const PATHS = Object.entries(FILES).flatMap(([name, files]) =>
  files.map((file) => `${name}/${file}`),
);
export const LABELS = Object.values(FILES).flatMap((files, label) => files.map(() => label));

/** Twelve images of three classes. */
export async function smallFolder(tree: Tree): Promise<ImageFolder> {
  for (const path of PATHS) {
    tree.add(path);
    copyFileSync(`${IMAGES}/${path.slice(path.indexOf("/") + 1)}`, tree.at(path));
  }
  return openImageFolder(tree.path, { index: false });
}

export const SIZE = 16;
export const training: TrainingView = {
  kind: "training",
  size: SIZE,
  ...RANDOM_RESIZED_CROP,
  augment: {},
};
export const evaluation: EvaluationView = { kind: "evaluation", resize: 18, crop: SIZE };

/** A batch after it was released. */
export interface Seen {
  readonly indices: readonly number[];
  readonly labels: readonly number[];
  readonly shape: readonly number[];
  /** Of each image's bytes. */
  readonly hashes: readonly string[];
  readonly mixing: { readonly otherLabels: readonly number[]; readonly share: number } | undefined;
  readonly bad: ImageBatch["bad"];
  readonly position: number;
}

export function seen(batch: ImageBatch): Seen {
  const { images, indices, labels, mixing, bad, position } = batch;
  const bytes = images.data.length / labels.length;
  const result = {
    indices: [...indices],
    labels: [...labels],
    shape: images.shape,
    hashes: Array.from(labels, (_, i) => hash(images.data.subarray(i * bytes, (i + 1) * bytes))),
    mixing: mixing && { otherLabels: [...mixing.otherLabels], share: mixing.share },
    ...{ bad, position },
  };
  batch.release();
  return result;
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}

/** The batches of an epoch. */
export async function batchesOf(
  options: LoaderOptions,
  epoch = 0,
  epochOptions: EpochOptions = {},
): Promise<Seen[]> {
  const loader = new Loader(options);
  try {
    const result: Seen[] = [];
    for await (const batch of loader.epoch(epoch, epochOptions)) result.push(seen(batch));
    return result;
  } finally {
    await loader.close();
  }
}
