/** Resizing by sharp's own kernels, for those who prefer one of them; none gives Pillow's bytes. */
import { ImageFailure } from "./failure.js";
import { type ResizeKernel, sharp } from "./sharp.js";
import type { Box, Placement, RgbImage } from "./types.js";

/**
 * Writes the placed window to `out`; `source` holds the pixels of `region`, which contains the box.
 * Throws ImageFailure for a size that sharp refuses.
 */
export async function resizeWithSharp(
  path: string,
  source: RgbImage,
  region: Box,
  { box, width, height, window, flip }: Placement,
  out: Uint8Array,
  kernel: ResizeKernel,
): Promise<void> {
  try {
    const raw = { width: source.width, height: source.height, channels: 3 } as const;
    const pixels = await sharp(source.data, { raw })
      .extract({ ...box, left: box.left - region.left, top: box.top - region.top })
      .resize({ width, height, fit: "fill", kernel })
      .extract(window)
      .raw()
      .toBuffer();
    out.set(pixels);
  } catch (error) {
    const reason = `${box.width} x ${box.height} pixels cannot be resized to ${width} x ${height}`;
    throw new ImageFailure(path, "unsupported", reason, { cause: error });
  }
  if (flip) mirrorRows(out, window.width);
}

function mirrorRows(pixels: Uint8Array, width: number): void {
  const rowBytes = width * 3;
  for (let row = 0; row < pixels.length; row += rowBytes) {
    for (let left = 0, right = rowBytes - 3; left < right; left += 3, right -= 3) {
      for (let band = 0; band < 3; band++) {
        const kept = pixels[row + left + band]!;
        pixels[row + left + band] = pixels[row + right + band]!;
        pixels[row + right + band] = kept;
      }
    }
  }
}
