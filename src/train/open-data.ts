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
import type { Team } from "./distributed/team.js";

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

export interface Loaders {
  /** This process's part of each batch. */
  readonly train: Loader;
  readonly val: Loader;
  /** Opens one that has all of each batch, which is as large as this process's part. */
  whole(half: "train" | "val"): Loader;
}

export function openLoaders(
  config: TrainConfig,
  folders: Folders,
  closing: Closing,
  team: Team,
): Loaders {
  const { workers, seed, onBadImage, lenient, exifOrientation, resize, imgSize } = config;
  const common = { workers, seed, onBadImage, read: { lenient, exifOrientation, resize } };
  const { augment, valResize } = config;
  const views = {
    train: { kind: "training", size: imgSize, ...RANDOM_RESIZED_CROP, augment },
    val: { kind: "evaluation", resize: valResize, crop: imgSize },
  } as const satisfies Record<"train" | "val", View>;
  // Over all nodes.
  const sizes = {
    train: config.batchSize * team.nodes,
    val: config.valBatchSize * team.nodes,
  };
  const { train } = folders;
  if (sizes.train > train.files.length) {
    const several = team.nodes === 1 ? "" : ` on each of ${team.nodes} nodes`;
    throw usageError(
      `--batch-size: expected at most the ${train.files.length} images of ${train.root}, received ${config.batchSize}${several}`,
    );
  }
  const open = (half: "train" | "val", rank: number, worldSize: number, batchSize: number) => {
    const shuffle = half === "train";
    const mixing = shuffle ? (config.mixing ?? undefined) : undefined;
    const options = { ...common, folder: folders[half], view: views[half], shuffle, mixing };
    const loader = new Loader({ ...options, batchSize, rank, worldSize });
    return closing.add(loader, () => loader.close());
  };
  const { rank, worldSize } = team;
  return {
    train: open("train", rank, worldSize, sizes.train),
    val: open("val", rank, worldSize, sizes.val),
    whole: (half) => open(half, 0, 1, Math.ceil(sizes[half] / worldSize)),
  };
}
