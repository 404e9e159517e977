/** The images of a run: its folders, held against its settings, and its loaders. */
import {
  checkSameClasses,
  type ImageFolder,
  Loader,
  openDataset,
  RANDOM_RESIZED_CROP,
  relabel,
  type View,
} from "../data/index.js";
import { usageError } from "../errors.js";
import type { Closing } from "./closing.js";
import type { TrainConfig } from "./config.js";

export interface Folders {
  readonly train: ImageFolder;
  readonly val: ImageFolder;
  readonly notes: readonly string[];
}

/** @throws RepkitError where a half is missing, or has classes that it should not */
export async function openFolders(
  { data, numClasses }: TrainConfig,
  signal: AbortSignal,
  onScan?: (files: number) => void,
): Promise<Folders> {
  const options = { signal, ...(onScan === undefined ? {} : { onProgress: onScan }) };
  const train = await openDataset(data, "train", options);
  const val = await openDataset(data, "val", options);
  const missing = checkSameClasses(train, val);
  const found = train.classes.length;
  if (numClasses !== null && numClasses < found) {
    throw usageError(
      `--num-classes: expected at least the ${found} classes of ${data}, received ${numClasses}`,
    );
  }
  if (missing.length === 0) return { train, val, notes: [] };
  const example = missing.length === 1 ? missing[0] : `${missing[0]}, ...`;
  const note = `val/ has no images of ${missing.length} of the ${found} classes (${example})`;
  return { train, val: relabel(val, train.classes), notes: [note] };
}

/** Names of the outputs, where there is a folder for each. */
export function classNames(
  { classes }: ImageFolder,
  numClasses: number,
): readonly string[] | undefined {
  return classes.length === numClasses ? classes : undefined;
}

export type Loaders = ReturnType<typeof openLoaders>;

export function openLoaders(config: TrainConfig, { train, val }: Folders, closing: Closing) {
  const { workers, seed, onBadImage, lenient, exifOrientation, resize, imgSize } = config;
  const common = { workers, seed, onBadImage, read: { lenient, exifOrientation, resize } };
  const open = (folder: ImageFolder, view: View, batchSize: number) => {
    const shuffle = view.kind === "training";
    const mixing = shuffle ? (config.mixing ?? undefined) : undefined;
    const options = { ...common, folder, view, batchSize, shuffle, mixing };
    return closing.add(new Loader(options), (loader) => loader.close());
  };
  const count = train.files.length;
  if (config.batchSize > count) {
    throw usageError(
      `--batch-size: expected at most the ${count} images of ${train.root}, received ${config.batchSize}`,
    );
  }
  const { augment, valResize, valBatchSize } = config;
  const trainingView: View = { kind: "training", size: imgSize, ...RANDOM_RESIZED_CROP, augment };
  return {
    train: open(train, trainingView, config.batchSize),
    val: open(val, { kind: "evaluation", resize: valResize, crop: imgSize }, valBatchSize),
  };
}
