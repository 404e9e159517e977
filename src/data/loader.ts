/** Batches of images from a folder, prepared ahead by other threads in memory that is used again. */
import { performance } from "node:perf_hooks";

import { fileError, invalidArgument, RepkitError } from "../errors.js";
import { randomStream } from "../util/random.js";
import { ImageFailure } from "./failure.js";
import type { ImageFolder } from "./folder/types.js";
import type { FillTask, MixTask } from "./image-tasks.js";
import { type MixingOptions, type MixPlan, partnerOf, planMixing } from "./mixing.js";
import type { ReadImageOptions } from "./read-image.js";
import {
  batchAt,
  batchesOf,
  checkBatchSize,
  epochOrderInTurns,
  rankShare,
  sortedOrder,
} from "./sampler.js";
import { startPool, type TaskPool } from "./task-pool.js";
import type { BadImage, ImageBatch, Mixing } from "./types.js";
import { type View, viewSize } from "./view.js";

export interface LoaderOptions {
  readonly folder: Pick<ImageFolder, "files" | "labels">;
  readonly view: View;
  /** Images of one batch, over all processes. */
  readonly batchSize: number;
  /** A new order for each epoch, and whole batches only; otherwise the folder's order and all images. */
  readonly shuffle: boolean;
  /** Threads that prepare images; 0: this one. */
  readonly workers: number;
  /** Of orders, crops and augmentations. Default: 0. */
  readonly seed?: number;
  /** Mix images in pairs. */
  readonly mixing?: MixingOptions | undefined;
  /** Which part of each batch is this process's. Default: all of it. */
  readonly rank?: number;
  readonly worldSize?: number;
  /** Batches to have ready or in work. Default: 2. */
  readonly prefetch?: number;
  /** Default: "fail". */
  readonly onBadImage?: "skip" | "fail";
  readonly read?: Omit<ReadImageOptions, "jpeg">;
}

export interface EpochOptions {
  /** Batches of this epoch to leave out, because they are done. Default: 0. */
  readonly from?: number;
  /** Ends the epoch at once with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Since the loader was made. */
export interface LoaderStatistics {
  readonly batches: number;
  readonly images: number;
  readonly badImages: number;
  /** Seconds that the consumer waited. */
  readonly waitSeconds: number;
}

/** A batch has more than one task, so that threads share it; a task more images than its message costs. */
const MAX_TASK_IMAGES = 8;
const TASKS_PER_THREAD = 2;
const DEFAULT_PREFETCH = 2;

export class Loader {
  /** Batches in an epoch. */
  readonly batches: number;
  /** Of a batch in an epoch, for this process: no batch has more. */
  readonly #capacity: number;
  readonly #options: LoaderOptions;
  readonly #seed: number;
  readonly #prefetch: number;
  readonly #size: number;
  readonly #pool: TaskPool;
  /** Memory of batches that nobody uses. */
  readonly #free: SharedArrayBuffer[] = [];
  #allocated = 0;
  #onFree: () => void = () => undefined;
  #statistics = { batches: 0, images: 0, badImages: 0, waitSeconds: 0 };

  constructor(options: LoaderOptions) {
    const { folder, view, batchSize, shuffle, workers, worldSize = 1, prefetch } = options;
    if (!Number.isSafeInteger(workers) || workers < 0) {
      throw invalidArgument("--workers", "a whole number from 0", workers);
    }
    if (shuffle) checkBatchSize(batchSize, worldSize);
    this.#options = options;
    this.#seed = options.seed ?? 0;
    this.#prefetch = Math.max(1, prefetch ?? DEFAULT_PREFETCH);
    this.#size = viewSize(view);
    const count = folder.files.length;
    this.batches = batchesOf({ count, batchSize, dropLast: shuffle });
    this.#capacity = Math.ceil(Math.min(batchSize, count) / worldSize);
    this.#pool = startPool(
      { files: folder.files.share(), view, seed: this.#seed, read: options.read ?? {} },
      workers,
    );
  }

  get statistics(): LoaderStatistics {
    return { ...this.#statistics };
  }

  /**
   * The batches of an epoch in order: the same bytes for any number of threads, and after a resume.
   * The consumer releases each batch; those that it holds are not prepared again. One epoch at a time.
   */
  async *epoch(epoch: number, options: EpochOptions = {}): AsyncGenerator<ImageBatch, void> {
    const { from = 0, signal } = options;
    if (!Number.isSafeInteger(from) || from < 0) {
      throw invalidArgument("from", "a whole number of batches", from);
    }
    signal?.throwIfAborted();
    const { folder, shuffle } = this.#options;
    const count = folder.files.length;
    const order = shuffle ? await epochOrderInTurns(count, this.#seed, epoch) : sortedOrder(count);
    signal?.throwIfAborted();
    const preparing: Promise<Prepared>[] = [];
    let next = from;
    const fill = () => {
      while (next < this.batches && preparing.length < this.#prefetch) {
        const pixels = this.#takeBuffer();
        if (pixels === undefined) return;
        const prepared = this.#prepare(order, epoch, next++, pixels);
        prepared.catch(() => undefined); // met when its turn comes, or never
        preparing.push(prepared);
      }
    };
    const aborted = abortion(signal);
    this.#onFree = fill;
    try {
      for (let position = from; position < this.batches; position++) {
        signal?.throwIfAborted();
        fill();
        const [head] = preparing;
        if (head === undefined) {
          throw new RepkitError("internal", "all batches are held; release them before the next");
        }
        const started = performance.now();
        const prepared = await Promise.race([head, aborted.promise]);
        void preparing.shift();
        fill();
        yield this.#deliver(prepared, position, (performance.now() - started) / 1000);
      }
    } finally {
      aborted.dispose();
      this.#onFree = () => undefined;
      // What no thread has begun is dropped with its memory; the rest gives its memory back when it is done.
      this.#pool.clear();
      this.#allocated -= preparing.length;
    }
  }

  /** Stops the threads, after the images in hand. An epoch that goes on is refused its next batch. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  #takeBuffer(): SharedArrayBuffer | undefined {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    // One more than is prepared is in the consumer's hands.
    if (this.#allocated > this.#prefetch) return undefined;
    this.#allocated++;
    return new SharedArrayBuffer(this.#capacity * this.#imageBytes);
  }

  get #imageBytes(): number {
    return this.#size ** 2 * 3;
  }

  async #prepare(
    order: Uint32Array,
    epoch: number,
    batch: number,
    pixels: SharedArrayBuffer,
  ): Promise<Prepared> {
    const { batchSize, rank = 0, worldSize = 1, mixing } = this.#options;
    const all = rankShare(batchAt(order, batchSize, batch), rank, worldSize);
    const bad = (await Promise.all(this.#fillTasks(all, epoch, pixels))).flat();
    const indices = this.#closeGaps(all, bad, pixels);
    if (mixing === undefined) return { pixels, indices, bad, plan: undefined };
    const plan = planMixing(randomStream(this.#seed, `${epoch}/mix/${batch}`), mixing, this.#size);
    if (plan !== undefined) await Promise.all(this.#mixTasks(plan, indices.length, pixels));
    return { pixels, indices, bad, plan };
  }

  #fillTasks(all: Uint32Array, epoch: number, pixels: SharedArrayBuffer) {
    return this.#chunks(all.length).map(([place, end]) => {
      const indices = all.slice(place, end);
      const task: FillTask = { kind: "fill", pixels, epoch, place, indices };
      return this.#pool.run(task);
    });
  }

  #mixTasks(plan: MixPlan, count: number, pixels: SharedArrayBuffer) {
    return this.#chunks(Math.ceil(count / 2)).map(([from, to]) => {
      const task: MixTask = { kind: "mix", pixels, plan, count, from, to };
      return this.#pool.run(task, { first: true });
    });
  }

  /** From and to, of tasks that together are `count` images. */
  #chunks(count: number): (readonly [number, number])[] {
    const tasks = Math.max(1, this.#options.workers) * TASKS_PER_THREAD;
    const size = Math.min(MAX_TASK_IMAGES, Math.max(1, Math.ceil(count / tasks)));
    return Array.from({ length: Math.ceil(count / size) }, (_, i) => [
      i * size,
      Math.min(count, (i + 1) * size),
    ]);
  }

  /** The images that are there, moved together; or the failure of one, where one is too many. */
  #closeGaps(all: Uint32Array, bad: readonly BadImage[], pixels: SharedArrayBuffer): Uint32Array {
    const [first] = bad;
    if (first === undefined) return all;
    const path = `${this.#options.folder.files.root}/${first.path}`;
    if (this.#options.onBadImage !== "skip") throw new ImageFailure(path, first.kind, first.reason);
    // What is left over at the end may be a single image; a whole batch means that something else is wrong.
    // One process's part of it may be a single image too: there the batch is for whoever knows all parts.
    const isWhole = all.length === this.#capacity && (this.#options.worldSize ?? 1) === 1;
    if (bad.length === all.length && isWhole) {
      throw fileError(
        path,
        `${first.reason}; none of the ${all.length} images of a batch can be read`,
      );
    }
    const missing = new Set(bad.map(({ index }) => index));
    const bytes = new Uint8Array(pixels);
    let count = 0;
    all.forEach((index, place) => {
      if (missing.has(index)) return;
      const at = place * this.#imageBytes;
      if (count < place) bytes.copyWithin(count * this.#imageBytes, at, at + this.#imageBytes);
      count++;
    });
    return all.filter((index) => !missing.has(index));
  }

  #deliver(prepared: Prepared, position: number, waitSeconds: number): ImageBatch {
    const { pixels, indices, bad, plan } = prepared;
    const count = indices.length;
    const labels = Int32Array.from(indices, (index) => this.#options.folder.labels[index] ?? -1);
    this.#statistics.batches++;
    this.#statistics.images += count;
    this.#statistics.badImages += bad.length;
    this.#statistics.waitSeconds += waitSeconds;
    let isReleased = false;
    return {
      images: {
        shape: [count, this.#size, this.#size, 3],
        data: new Uint8Array(pixels, 0, count * this.#imageBytes),
      },
      labels,
      indices,
      mixing: plan === undefined ? undefined : mixingOf(plan, labels),
      bad,
      position: position + 1,
      waitSeconds,
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#free.push(pixels);
        this.#onFree();
      },
    };
  }
}

/** A batch before it is handed over. */
interface Prepared {
  readonly pixels: SharedArrayBuffer;
  readonly indices: Uint32Array;
  readonly bad: readonly BadImage[];
  readonly plan: MixPlan | undefined;
}

function mixingOf({ share }: MixPlan, labels: Int32Array): Mixing {
  const otherLabels = labels.map((_, place) => labels[partnerOf(place, labels.length)] ?? -1);
  return { otherLabels, share };
}

/** A promise that rejects when the signal says so, and otherwise never settles. */
function abortion(signal: AbortSignal | undefined): {
  readonly promise: Promise<never>;
  readonly dispose: () => void;
} {
  if (signal === undefined) {
    return { promise: new Promise<never>(() => undefined), dispose: () => undefined };
  }
  let dispose = () => undefined as void;
  const promise = new Promise<never>((_, reject) => {
    const abort = () => {
      reject(signal.reason as Error);
    };
    signal.addEventListener("abort", abort, { once: true });
    dispose = () => {
      signal.removeEventListener("abort", abort);
    };
  });
  promise.catch(() => undefined);
  return { promise, dispose };
}
