/**
 * Which images make up which batch. The order of an epoch depends on the seed and the epoch alone,
 * and batch b is the order's places b*B to (b+1)*B, whatever the number of processes: each takes a
 * contiguous part of every batch. So a position is a number of batches, and to resume in the middle
 * of an epoch is to start at that batch.
 */
import { invalidArgument, usageError } from "../errors.js";
import { randomStream } from "../util/random.js";

/** How a data set is cut into batches. */
export interface Batching {
  /** Images. */
  readonly count: number;
  /** Images of one batch, over all processes. */
  readonly batchSize: number;
  /** Leave out the last batch where it is smaller than the others, as in training. */
  readonly dropLast: boolean;
}

const MAX_COUNT = 2 ** 32; // places are Uint32

/** Places that are shuffled in one go: about 4 ms. */
const SLICE = 2 ** 17;

/** The places 0 to count-1 in the order of an epoch of training: each once, every order as likely. */
export function epochOrder(count: number, seed: number, epoch: number): Uint32Array {
  const order = sortedOrder(count);
  shuffle(order, count - 1, 0, orderStream(seed, epoch));
  return order;
}

/** The same, with turns for others in between: a million places take tens of milliseconds. */
export async function epochOrderInTurns(
  count: number,
  seed: number,
  epoch: number,
): Promise<Uint32Array> {
  const order = sortedOrder(count);
  const random = orderStream(seed, epoch);
  for (let from = count - 1; from > 0; from -= SLICE) {
    shuffle(order, from, Math.max(0, from - SLICE), random);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return order;
}

function orderStream(seed: number, epoch: number): () => number {
  return randomStream(seed, `order/${epoch}`);
}

/** Fisher and Yates, from place `from` down to `to` (Knuth, The Art of Computer Programming 2, algorithm 3.4.2 P). */
function shuffle(order: Uint32Array, from: number, to: number, random: () => number): void {
  for (let i = from; i > to; i--) {
    const j = uniformIndex(random, i + 1);
    const other = order[j] ?? 0;
    order[j] = order[i] ?? 0;
    order[i] = other;
  }
}

/** The places 0 to count-1 as they are: the order of evaluation. */
export function sortedOrder(count: number): Uint32Array {
  if (!Number.isSafeInteger(count) || count < 0 || count > MAX_COUNT) {
    throw invalidArgument("count", "a whole number of images from 0 to 2^32", count);
  }
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  return order;
}

/** The number of batches in an epoch. */
export function batchesOf({ count, batchSize, dropLast }: Batching): number {
  if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
    throw invalidArgument("batchSize", "a whole number from 1", batchSize);
  }
  return dropLast ? Math.floor(count / batchSize) : Math.ceil(count / batchSize);
}

/** Batch `index` of an epoch, all processes together; a view of `order`. The last may be smaller. */
export function batchAt(order: Uint32Array, batchSize: number, index: number): Uint32Array {
  return order.subarray(index * batchSize, (index + 1) * batchSize);
}

/**
 * The part of a batch that process `rank` of `worldSize` takes; a view. The parts are contiguous, in
 * the order of the ranks, and equal where the batch divides by worldSize. Otherwise (the last batch
 * of an evaluation) they differ by one, the first ones larger, and may be empty.
 */
export function rankShare(batch: Uint32Array, rank: number, worldSize: number): Uint32Array {
  if (!Number.isSafeInteger(worldSize) || worldSize < 1) {
    throw invalidArgument("worldSize", "a whole number from 1", worldSize);
  }
  if (!Number.isSafeInteger(rank) || rank < 0 || rank >= worldSize) {
    throw invalidArgument("rank", `a whole number from 0 to ${worldSize - 1}`, rank);
  }
  const begin = (r: number) => Math.ceil((r * batch.length) / worldSize);
  return batch.subarray(begin(rank), begin(rank + 1));
}

/**
 * In training every process does the same work: gradients are averaged over processes, not images.
 * @throws RepkitError "usage" where a batch cannot be shared out equally
 */
export function checkBatchSize(batchSize: number, worldSize: number): void {
  if (batchSize % worldSize === 0) return;
  const below = batchSize - (batchSize % worldSize);
  const nearest = below === 0 ? `${worldSize}` : `${below} or ${below + worldSize}`;
  throw usageError(
    `--batch-size: expected a multiple of the ${worldSize} processes, received ${batchSize}; take ${nearest}`,
  );
}

/**
 * Uniform in 0 to n-1, without the bias of a plain product: D. Lemire, "Fast random integer generation in
 * an interval" (2019). Doubles hold his product up to 2^53, so n up to 2^21; beyond, the remainder is taken.
 */
function uniformIndex(random: () => number, n: number): number {
  for (;;) {
    const value = random() * 2 ** 32; // 32 bits, exact in a double
    if (n <= 2 ** 21) {
      const product = value * n;
      const high = Math.floor(product / 2 ** 32);
      const low = product - high * 2 ** 32;
      if (low >= n || low >= 2 ** 32 % n) return high;
    } else if (value < 2 ** 32 - (2 ** 32 % n)) {
      return value % n;
    }
  }
}
