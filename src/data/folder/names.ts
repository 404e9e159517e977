/** Names of images and folders. */
import { printable } from "../../util/printable.js";

/** torchvision's IMG_EXTENSIONS. */
export const EXTENSIONS = [
  ...[".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"],
] as const;

const IMAGE_NAME = new RegExp(`(${EXTENSIONS.join("|").replaceAll(".", "\\.")})$`, "i");

export function isImageName(name: string): boolean {
  return IMAGE_NAME.test(name);
}

/** Sorts in place by code points, as Python sorts strings (and bytes of UTF-8 sort). */
export function sortNames(names: string[]): string[] {
  // By UTF-16 units, which is the same but where characters beyond U+FFFF are involved.
  names.sort();
  return names.some((name) => /[\ud800-\udfff]/.test(name)) ? names.sort(byCodePoints) : names;
}

/** To sort by code points. */
export function byCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = rank(a.charCodeAt(i)) - rank(b.charCodeAt(i));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Halves of characters beyond U+FFFF go after U+E000 to U+FFFF. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** `a, b, c and 4 more`. */
export function nameSome(names: readonly string[]): string {
  const shown = names.slice(0, 3).map((name) => printable(name, 100));
  const rest = names.length - shown.length;
  return rest === 0 ? shown.join(", ") : `${shown.join(", ")} and ${rest} more`;
}
