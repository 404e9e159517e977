/** What the parts of the data pipeline tell each other: pixels, places in images, batches. */

/** Pixels as height x width x 3 bytes (R, G, B), rows from the top. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** A rectangle of whole pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** What becomes of an image: a box of it is resized to width x height, and a window of that is kept. */
export interface Placement {
  readonly box: Box;
  readonly width: number;
  readonly height: number;
  /** In the resized image. */
  readonly window: Box;
  /** Mirror the window, left to right. */
  readonly flip: boolean;
}

/** Where to place an image of this width and height. */
export type Place = (width: number, height: number) => Placement;

/** Uniform numbers in [0, 1). */
export type Random = () => number;

/** Changes an image's pixels in place. */
export type PixelTransform = (image: RgbImage, random: Random) => void;

/** Targets of a mixed batch (mixup, cutmix): image i is `share` its own class and the rest another's. */
export interface Mixing {
  /** The class of each image's partner. */
  readonly otherLabels: Int32Array;
  /** Of the own class, in [0, 1]; one for the batch. */
  readonly share: number;
}

/** An image that could not be used. */
export interface BadImage {
  /** Position in the data set, and path below its folder. */
  readonly index: number;
  readonly path: string;
  readonly kind: ImageFailureKind;
  readonly reason: string;
}

export type ImageFailureKind =
  | "missing" // vanished since the folder was scanned
  | "unreadable" // permissions, input/output errors
  | "empty" // no bytes
  | "not-an-image" // no format that is known
  | "truncated" // the end is missing
  | "corrupt" // broken inside
  | "too-large" // more pixels than are safe to decode
  | "unsupported"; // a known format in a variant that cannot be decoded

/**
 * The last one of an evaluation may be empty, where none of its images could be read; so may any
 * process's part of a batch.
 */
export interface ImageBatch {
  /** count x size x size x 3 bytes, valid until `release`. */
  readonly images: { readonly shape: readonly number[]; readonly data: Uint8Array };
  readonly labels: Int32Array;
  /** Positions of the images in the data set. */
  readonly indices: Uint32Array;
  /** Undefined where images are not mixed. */
  readonly mixing: Mixing | undefined;
  /** Images that were skipped: the batch is smaller by as many. */
  readonly bad: readonly BadImage[];
  /** Batches of this epoch up to and including this one, counted from its beginning: where to resume. */
  readonly position: number;
  /** Seconds that the consumer waited for it. */
  readonly waitSeconds: number;
  /** Gives the memory back; `images` must not be used afterwards. */
  release(this: void): void;
}
