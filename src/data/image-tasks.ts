/** The work on pixels that loaders share out: filling places of a batch with images, and mixing them. */
import { types } from "node:util";

import { ImageFailure } from "./failure.js";
import { FileTable, type SharedFileTable } from "./folder/file-table.js";
import type { JpegAddon } from "./jpeg/native.js";
import { mixPair, type MixPlan, partnerOf } from "./mixing.js";
import { readImage, type ReadImageOptions } from "./read-image.js";
import type { BadImage, RgbImage } from "./types.js";
import { looker, type Looker, type View, viewSize } from "./view.js";

/** What all tasks of a loader have in common; plain data and shared memory. */
export interface TaskContext {
  readonly files: SharedFileTable;
  readonly view: View;
  readonly seed: number;
  readonly read: Omit<ReadImageOptions, "jpeg">;
}

export type Task = FillTask | MixTask;

/** Images `indices` go to the places from `place` on. */
export interface FillTask {
  readonly kind: "fill";
  /** The batch: places of size x size x 3 bytes. */
  readonly pixels: SharedArrayBuffer;
  readonly epoch: number;
  readonly place: number;
  readonly indices: Uint32Array;
}

/** Pairs of places from `from` up to but not including `to` of a batch of `count` images. */
export interface MixTask {
  readonly kind: "mix";
  readonly pixels: SharedArrayBuffer;
  readonly plan: MixPlan;
  readonly count: number;
  readonly from: number;
  readonly to: number;
}

/** Decoding outside of JavaScript's thread goes on while another image is resampled. */
const IMAGES_AT_A_TIME = 2;

export class ImageTasks {
  readonly #files: FileTable;
  readonly #look: Looker;
  readonly #size: number;
  readonly #read: ReadImageOptions;

  constructor({ files, view, seed, read }: TaskContext, jpeg: JpegAddon | undefined) {
    this.#files = FileTable.from(files);
    this.#look = looker(view, seed);
    this.#size = viewSize(view);
    this.#read = jpeg === undefined ? read : { ...read, jpeg };
  }

  /** The images that could not be read, in the batch's order; their places hold anything. */
  async run(task: Task): Promise<readonly BadImage[]> {
    if (task.kind === "fill") return this.#fill(task);
    for (let index = task.from; index < task.to; index++) {
      const partner = partnerOf(index, task.count);
      mixPair(this.#place(task.pixels, index), this.#place(task.pixels, partner), task.plan);
    }
    return [];
  }

  async #fill({ pixels, epoch, place, indices }: FillTask): Promise<readonly BadImage[]> {
    const bad: BadImage[] = [];
    const size = this.#size;
    let next = 0;
    const lane = async () => {
      for (let at = next++; at < indices.length; at = next++) {
        const index = indices[at]!;
        const { place: placement, augment } = this.#look(epoch, index);
        const image: RgbImage = {
          width: size,
          height: size,
          data: this.#place(pixels, place + at),
        };
        try {
          await readImage(this.#files.absolute(index), placement, image.data, this.#read);
          augment?.(image);
        } catch (error) {
          if (!isImageFailure(error)) throw error;
          const path = this.#files.path(index);
          bad.push({ index, path, kind: error.failure, reason: error.reason });
        }
      }
    };
    await Promise.all(Array.from({ length: IMAGES_AT_A_TIME }, lane));
    return bad.sort((a, b) => indices.indexOf(a.index) - indices.indexOf(b.index));
  }

  #place(pixels: SharedArrayBuffer, place: number): Uint8Array {
    const bytes = this.#size ** 2 * 3;
    return new Uint8Array(pixels, place * bytes, bytes);
  }
}

function isImageFailure(error: unknown): error is ImageFailure {
  return types.isNativeError(error) && error.name === ImageFailure.name;
}
