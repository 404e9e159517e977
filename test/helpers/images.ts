// Reads test/fixtures/images: photographs, odd files, and what torchvision makes of them.

import { readFileSync } from "node:fs";

import type { Box } from "../../src/data/types.js";
import { FIXTURES } from "./fixtures.js";

export const IMAGES = `${FIXTURES}/images`;

export interface DecodedReference {
  status: "ok";
  width: number;
  height: number;
  rgb_sum: [number, number, number];
  rgb_sha256: string;
  outputs: string[];
}

export type ImageReference =
  | DecodedReference
  | { status: "error"; error: "empty" | "not-an-image" | "truncated"; lenient?: DecodedReference };

/** By file name. */
export const imageReferences = JSON.parse(
  readFileSync(`${IMAGES}/expected.json`, "utf8"),
) as Record<string, ImageReference>;

/** The files that can be decoded. */
export const decodedReferences = Object.entries(imageReferences).filter(
  (entry): entry is [string, DecodedReference] => entry[1].status === "ok",
);

/** Box `index` of boxes.json, which holds [top, left, height, width]. */
export function referenceBox(file: string, index: number): Box {
  const boxes = JSON.parse(readFileSync(`${IMAGES}/boxes.json`, "utf8")) as Record<
    string,
    [number, number, number, number][]
  >;
  const [top, left, height, width] = boxes[file]![index]!;
  return { left, top, width, height };
}

const container = readFileSync(`${IMAGES}/expected.safetensors`);
const headerLength = Number(container.readBigUInt64LE(0));
const entries = JSON.parse(container.toString("utf8", 8, 8 + headerLength)) as Record<
  string,
  { shape: [number, number, number]; data_offsets: [number, number] }
>;

/** Pixels that torchvision produced, height x width x 3. */
export function referenceOutput(name: string): Uint8Array {
  const [from, to] = entries[name]!.data_offsets;
  return Uint8Array.from(container.subarray(8 + headerLength + from, 8 + headerLength + to));
}

/** How two images differ: no test prints 150 000 bytes. */
export function pixelDifference(
  actual: Uint8Array,
  expected: Uint8Array,
): { readonly length: number; readonly differing: number; readonly most: number } {
  let differing = 0;
  let most = 0;
  for (let index = 0; index < expected.length; index++) {
    const difference = Math.abs((actual[index] ?? NaN) - expected[index]!);
    if (difference !== 0) differing++;
    if (!(difference <= most)) most = difference;
  }
  return { length: actual.length, differing, most };
}

/** What `pixelDifference` says of equal images of that many bytes. */
export function noDifference(length: number): ReturnType<typeof pixelDifference> {
  return { length, differing: 0, most: 0 };
}
