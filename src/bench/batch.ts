/** Batches to measure with: their content does not matter, but that it is the same every time does. */
import type { Batch } from "../engine/types.js";
import { randomStream } from "../graph/index.js";

export interface BatchShape {
  readonly size: number;
  /** Height and width in pixels. */
  readonly imageSize: number;
  readonly numClasses: number;
}

/** Random pixels (N x H x W x 3 bytes) and labels, the same for the same seed. */
export function randomBatch(
  { size, imageSize, numClasses }: BatchShape,
  seed: number,
): Batch & { readonly labels: Int32Array } {
  const shape = [size, imageSize, imageSize, 3];
  const data = new Uint8Array(size * imageSize * imageSize * 3);
  const pixel = randomStream(seed, "images");
  for (let i = 0; i < data.length; i++) data[i] = pixel() * 256;
  const label = randomStream(seed, "labels");
  const labels = Int32Array.from({ length: size }, () => label() * numClasses);
  return { images: { shape, data }, labels };
}
