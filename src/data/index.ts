/** Images from class folders to batches: scanning, sampling, decoding, augmenting, loading ahead. */
export { AUGMENTATIONS, type AugmentOptions, type ColorJitterOptions } from "./augment/index.js";
export { ImageFailure } from "./failure.js";
export * from "./folder/index.js";
export { Loader, type EpochOptions, type LoaderOptions, type LoaderStatistics } from "./loader.js";
export { mixedTargets, type MixingOptions } from "./mixing.js";
export { RANDOM_RESIZED_CROP, type RandomResizedCropOptions } from "./placement.js";
export { readImage, type ReadImageOptions } from "./read-image.js";
export type { BadImage, ImageBatch, ImageFailureKind, Mixing } from "./types.js";
export { viewSize, type EvaluationView, type TrainingView, type View } from "./view.js";
