// A stand-in for a trained model: an engine that reads the class from an image's colour, and images of
// one colour each, which evaluation's resizing and cropping leave as they are.

import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

import { expect } from "@jest/globals";
import sharp from "sharp";

import type { Engine, Executable, LoadOptions } from "../../src/engine/types.js";
import type { Graph, Images, Tensor } from "../../src/graph/index.js";
import { crossEntropy, hits } from "./cross-entropy.js";

/** A PNG of one colour: `guess` is the class that the engine takes it for, `sureness` the largest logit. */
export async function writeImage(path: string, guess: number, sureness = 8): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const background = { r: guess, g: sureness, b: 0 };
  await sharp({ create: { width: 40, height: 30, channels: 3, background } })
    .png()
    .toFile(path);
}

/** The logits that the engine gives: the guess first, its neighbours upwards (and around) after it. */
export function logitsOf(guess: number, sureness: number, classes: number): Float32Array {
  return Float32Array.from(
    { length: classes },
    (_, c) => sureness * (1 - ((c - guess + classes) % classes) / classes),
  );
}

export interface ColourEngine extends Engine {
  readonly loads: LoadOptions[];
  /** What was called, and with how many images. */
  readonly calls: (readonly [method: string, images: number])[];
  readonly disposed: { count: number };
}

export function colourEngine(): ColourEngine {
  const loads: LoadOptions[] = [];
  const calls: ColourEngine["calls"] = [];
  const disposed = { count: 0 };
  return {
    ...{ name: "colours", description: "reads colours", devices: ["cpu"] },
    ...{ loads, calls, disposed },
    async load(graph, _state, options = {}) {
      loads.push(options);
      const executable: Partial<Executable> = {
        async infer(images) {
          calls.push(["infer", images.shape[0] ?? 0]);
          return { outputs: new Map([["logits", logits(graph, images)]]), values: new Map() };
        },
        async evaluate({ images, labels }) {
          calls.push(["evaluate", images.shape[0] ?? 0]);
          const scores = logits(graph, images);
          return {
            loss: crossEntropy(scores, labels),
            top1: hits(scores, labels as Int32Array, 1),
            top5: hits(scores, labels as Int32Array, 5),
          };
        },
        async dispose() {
          disposed.count++;
        },
      };
      return executable as Executable;
    },
  };
}

function logits(graph: Graph, { shape, data }: Images): Tensor<Float32Array> {
  const [count = 0, height = 0, width = 0] = shape;
  const [classes = 0] = graph.nodes[graph.outputs[0]!.value]!.type.shape;
  const pixels = data as Uint8Array;
  const all = new Float32Array(count * classes);
  for (let n = 0; n < count; n++) {
    const [r = 0, g = 0] = pixels.subarray(n * height * width * 3);
    const last = pixels.subarray(((n + 1) * height * width - 1) * 3);
    expect([...last.subarray(0, 2)]).toEqual([r, g]);
    all.set(logitsOf(r, g, classes), n * classes);
  }
  return { shape: [count, classes], data: all };
}
