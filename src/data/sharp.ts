/**
 * sharp, set up for a loader: the only module that imports it. One thread per image, because the
 * loader's workers already use all cores; no cache, because no image is opened twice.
 */
import sharp, { type Sharp } from "sharp";

sharp.cache(false);
sharp.concurrency(1);

/** sharp's own kernels: fast to ask for, but none is PIL's. */
export const RESIZE_KERNELS = [
  "nearest",
  "linear",
  "cubic",
  "mitchell",
  "lanczos2",
  "lanczos3",
] as const;

export type ResizeKernel = (typeof RESIZE_KERNELS)[number];

export { sharp, type Sharp };
