/** Mean and variance of the channels of a model's values over many images, in bounded memory. */
import type { Executable } from "../engine/types.js";
import { elementCount, type Images, type Node, type Tensor } from "../graph/index.js";

export interface MomentsOptions {
  readonly batches: AsyncIterable<{ readonly images: Images; release(): void }>;
  /** How many to take; the last batch in part, and none after it. */
  readonly images: number;
  /** Bytes of values held at a time, in float32. */
  readonly heldBytes: number;
  /** Told the images that are done. */
  readonly onProgress?: ((images: number) => void) | undefined;
}

/** Of the channels of one value, over images and pixels. */
export interface Moments {
  readonly mean: Float64Array;
  /** Biased, as a batch norm normalises. */
  readonly variance: Float64Array;
}

export interface Measured {
  /** In the order of the nodes; NaN where there was no image. */
  readonly moments: readonly Moments[];
  readonly images: number;
}

/**
 * Runs the model in evaluation mode. Batches are cut up so that the values of all nodes stay within
 * `heldBytes`; where those of one image do not, the model runs several times for it. A single node's
 * value of one image is the least that is held.
 */
export async function channelMoments(
  executable: Pick<Executable, "infer">,
  nodes: readonly Node[],
  { batches, images: wanted, heldBytes, onProgress }: MomentsOptions,
): Promise<Measured> {
  const sums = new Map(nodes.map(({ id, type }) => [id, new ChannelSums(type.shape[0] ?? 0)]));
  const groups = groupsWithin(nodes, heldBytes);
  const perRun = Math.max(1, Math.floor(heldBytes / Math.max(...groups.map(bytesPerImage))));
  let images = 0;
  for await (const batch of batches) {
    try {
      const count = Math.min(batch.images.shape[0] ?? 0, wanted - images);
      for (let from = 0; from < count; from += perRun) {
        const part = slice(batch.images, from, Math.min(from + perRun, count));
        for (const group of groups) {
          const { values } = await executable.infer(part, { values: group.map(({ id }) => id) });
          for (const [id, value] of values) sums.get(id)?.add(value);
        }
      }
      images += count;
    } finally {
      batch.release();
    }
    onProgress?.(images);
    if (images >= wanted) break;
  }
  return { moments: Array.from(sums.values(), (sum) => sum.moments()), images };
}

function bytesPerImage(nodes: readonly Node[]): number {
  return nodes.reduce((sum, { type }) => sum + 4 * elementCount(type.shape), 0);
}

/** Neighbours whose values of one image fit together; one that does not fit at all stands alone. */
function groupsWithin(nodes: readonly Node[], limit: number): readonly (readonly Node[])[] {
  const groups: Node[][] = [];
  for (const node of nodes) {
    const last = groups.at(-1);
    if (last !== undefined && bytesPerImage([...last, node]) <= limit) last.push(node);
    else groups.push([node]);
  }
  return groups;
}

function slice({ shape, data }: Images, from: number, to: number): Images {
  const each = elementCount(shape.slice(1));
  const part = data.subarray(from * each, to * each);
  return { shape: [to - from, ...shape.slice(1)], data: part } as Images;
}

/**
 * Mean and sum of squared deviations per channel, in float64. Planes are merged one by one as Chan,
 * Golub and LeVeque (1983) do it: a plain sum of squares loses the variance beside a large mean.
 */
class ChannelSums {
  readonly #mean: Float64Array;
  readonly #squares: Float64Array;
  /** Values per channel so far. */
  #count = 0;

  constructor(channels: number) {
    this.#mean = new Float64Array(channels);
    this.#squares = new Float64Array(channels);
  }

  /** x: [N,C,H,W] */
  add({ shape, data }: Tensor): void {
    const [images = 0, channels = 0, height = 0, width = 0] = shape;
    const area = height * width;
    const x = data as Float32Array | Float64Array;
    const mean = this.#mean;
    const squares = this.#squares;
    let start = 0;
    for (let image = 0; image < images; image++) {
      const count = this.#count + area;
      const weight = (this.#count * area) / count;
      for (let channel = 0; channel < channels; channel++, start += area) {
        let sum = 0;
        for (let i = start; i < start + area; i++) sum += x[i]!;
        const average = sum / area;
        let deviations = 0;
        for (let i = start; i < start + area; i++) {
          const deviation = x[i]! - average;
          deviations += deviation * deviation;
        }
        const gap = average - mean[channel]!;
        mean[channel]! += (gap * area) / count;
        squares[channel]! += deviations + gap * gap * weight;
      }
      this.#count = count;
    }
  }

  moments(): Moments {
    return { mean: this.#mean, variance: this.#squares.map((sum) => sum / this.#count) };
  }
}
