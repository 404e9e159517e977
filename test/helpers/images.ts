// Reads test/fixtures/images: drawn pictures, odd files, and what torchvision makes of them.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { boxPlacement, evaluationPlacement } from "../../src/data/placement.js";
import type { Place } from "../../src/data/types.js";
import { FIXTURES } from "./fixtures.js";

export const IMAGES = `${FIXTURES}/images`;

export interface DecodedReference {
  status: "ok";
  width: number;
  height: number;
  rgb_sum: [number, number, number];
  rgb_sha256: string;
  /** Names in expected.safetensors. */
  outputs: string[];
  /** Of the outputs that are not kept there, by name. */
  output_sha256?: Record<string, string>;
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

/** Names of what torchvision made of a file, `<file>/<what>`. */
export function outputsOf({ outputs, output_sha256 = {} }: DecodedReference): string[] {
  return [...outputs, ...Object.keys(output_sha256)];
}

const boxes = JSON.parse(readFileSync(`${IMAGES}/boxes.json`, "utf8")) as Record<
  string,
  [top: number, left: number, height: number, width: number][]
>;

/** The placement that made the output of that name. */
export function placeOf(output: string): Place {
  const [file = "", what = ""] = output.split("/");
  const box = /^box(\d)_(\d+)$/.exec(what);
  if (box !== null) {
    const [top, left, height, width] = boxes[file]![Number(box[1])]!;
    return () => boxPlacement({ left, top, width, height }, Number(box[2]));
  }
  const [, resize, crop] = /^resize(\d+)_crop(\d+)(?:_lenient)?$/.exec(what)!;
  return evaluationPlacement(Number(resize), Number(crop));
}

const container = readFileSync(`${IMAGES}/expected.safetensors`);
const headerLength = Number(container.readBigUInt64LE(0));
const entries = JSON.parse(container.toString("utf8", 8, 8 + headerLength)) as Record<
  string,
  { shape: [number, number, number]; data_offsets: [number, number] }
>;
const hashes = Object.assign(
  {},
  ...decodedReferences.map(([, { output_sha256 }]) => output_sha256),
) as Record<string, string>;

/** How pixels differ from torchvision's output of that name; undefined if not at all. */
export function differenceFrom(output: string, pixels: Uint8Array): unknown {
  const entry = entries[output];
  if (entry === undefined) {
    const [sha256, expected] = [createHash("sha256").update(pixels).digest("hex"), hashes[output]];
    return sha256 === expected ? undefined : { sha256, expected };
  }
  const [from, to] = entry.data_offsets.map((offset) => 8 + headerLength + offset);
  const expected = container.subarray(from, to);
  return expected.equals(pixels) ? undefined : pixelDifference(pixels, expected);
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
