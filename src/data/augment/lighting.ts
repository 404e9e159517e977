/**
 * PCA lighting: Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks (2012),
 * section 4.1, with the eigenvectors that everyone uses.
 */
import { invalidArgument } from "../../errors.js";
import type { PixelTransform } from "../types.js";
import { normal } from "./distributions.js";
import { applyTables, byteTable } from "./lookup.js";

/** Of the covariance of ImageNet's colours, for pixels in [0, 1]. */
const EIGENVALUES = [0.2175, 0.0188, 0.0045] as const;
/** A row for each of R, G, B; a column for each eigenvalue. */
const EIGENVECTORS = [
  [-0.5675, 0.7192, 0.4009],
  [-0.5808, -0.0045, -0.814],
  [-0.5836, -0.6948, 0.4203],
] as const;

/**
 * Adds one colour to all pixels of an image: sum_j eigenvector_j alpha_j eigenvalue_j with alpha_j ~ N(0, deviation^2).
 * The reference adds it to floats in [0, 1] and does not cut them off; these are bytes, so the sum is rounded (an error
 * of at most half a grey level, 0.002 of the range) and cut off at black and white.
 */
export function lighting(deviation: number): PixelTransform {
  if (!(deviation >= 0 && deviation < Infinity)) {
    throw invalidArgument("lighting", "a number of at least 0", deviation);
  }
  return (image, random) => {
    const weights = EIGENVALUES.map((eigenvalue) => deviation * normal(random) * eigenvalue);
    const [red, green, blue] = EIGENVECTORS;
    applyTables(image, shifted(red, weights), shifted(green, weights), shifted(blue, weights));
  };
}

function shifted(row: readonly number[], weights: readonly number[]): Uint8Array {
  const shift = 255 * row.reduce((sum, value, j) => sum + value * weights[j]!, 0);
  return byteTable((byte) => Math.min(255, Math.max(0, Math.round(byte + shift))));
}
