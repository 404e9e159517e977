/** One image that cannot be used. */
import { RepkitError } from "../errors.js";
import type { ImageFailureKind } from "./types.js";

/** Exit 3 where it ends the command; the loader may skip the image instead. */
export class ImageFailure extends RepkitError {
  readonly failure: ImageFailureKind;
  readonly path: string;
  readonly reason: string;

  constructor(
    path: string,
    failure: ImageFailureKind,
    reason: string,
    options: { cause?: unknown } = {},
  ) {
    super("file", `${path}: ${reason}`, { ...options, details: { failure } });
    this.name = "ImageFailure";
    this.failure = failure;
    this.path = path;
    this.reason = reason;
  }
}
