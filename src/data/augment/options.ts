/** Which augmentations of pixels to apply: plain JSON data, for worker threads and config.json alike. */

/** How far each factor may be from "no change"; 0 or absent leaves it out. */
export interface ColorJitterOptions {
  /** Factor in [max(0, 1 - brightness), 1 + brightness]. */
  readonly brightness?: number | undefined;
  /** Factor in [max(0, 1 - contrast), 1 + contrast]. */
  readonly contrast?: number | undefined;
  /** Factor in [max(0, 1 - saturation), 1 + saturation]. */
  readonly saturation?: number | undefined;
  /** Turn in [-hue, hue] of the colour circle; at most 0.5. */
  readonly hue?: number | undefined;
}

/** What an erased rectangle is filled with. */
export type ErasingMode =
  | "const" // the mean colour, which is 0 after normalization
  | "rand" // one normally distributed colour
  | "pixel"; // a normally distributed colour per pixel

export interface RandomErasingOptions {
  /** That an image loses a rectangle at all. */
  readonly probability: number;
  /** "pixel" where absent. */
  readonly mode?: ErasingMode | undefined;
}

export interface AugmentOptions {
  readonly colorJitter?: ColorJitterOptions | undefined;
  /** Standard deviation of the PCA lighting's coefficients; 0.1 in AlexNet. */
  readonly lighting?: number | undefined;
  /** timm's notation, as "rand-m9-n2-mstd0.5-inc1", or "raug15": see rand-augment.ts. */
  readonly randAugment?: string | undefined;
  readonly randomErasing?: RandomErasingOptions | undefined;
}

/** What `--data-aug` names: "strong" is the DBB recipe of ResNets; crop and flip are part of both. */
export const AUGMENTATIONS = {
  weak: {},
  strong: { colorJitter: { brightness: 0.4, saturation: 0.4, hue: 0.4 }, lighting: 0.1 },
} as const satisfies Readonly<Record<string, AugmentOptions>>;
