/** ImageNet's statistics, with which images are normalized, and what they are in bytes. */

/** Of R, G, B in [0, 1]. */
export const IMAGENET_MEAN = [0.485, 0.456, 0.406] as const;
export const IMAGENET_STD = [0.229, 0.224, 0.225] as const;

export type Color = readonly [red: number, green: number, blue: number];

/** The mean as a colour of bytes: nearly 0 in every channel once normalized. */
export const MEAN_COLOR: Color = [124, 116, 104];
