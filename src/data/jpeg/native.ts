/** The native fast path for JPEG files (native/jpeg/addon.cc), as the loader sees it. */

/** Why an image was not produced; "unsupported" files may still be readable another way. */
export type JpegFailure = "truncated" | "corrupt" | "unsupported" | "too-large";

/**
 * Synchronous, and the same bytes as the portable path, to the byte. `placement` is [box left, top, width,
 * height, width, height, window left, top, width, height, flip]; `out` takes the window's height x width
 * x 3 bytes, and may lie in shared memory. Throws RangeError for a placement that makes no sense, or
 * buffers of another size.
 */
export interface JpegAddon {
  /**
   * Decodes what the window needs and resamples it. Undefined when done; otherwise `out` may be half
   * written. A box beyond the image is "unsupported": another reader has read another size.
   */
  resampleJpeg(bytes: Uint8Array, placement: Int32Array, out: Uint8Array): JpegFailure | undefined;

  /** Resamples decoded pixels, height x width x 3 bytes. */
  resample(
    pixels: Uint8Array,
    width: number,
    height: number,
    placement: Int32Array,
    out: Uint8Array,
  ): JpegFailure | undefined;

  /** What it was compiled against. */
  describe(): { readonly version: string };
}
