/** Batches of images as the engine computes on them: N,H,W,C numbers. */
import { types } from "node:util";

import type { Tensor4D } from "@tensorflow/tfjs-core";

import { toFloat32, type Images, type OpOf } from "../../graph/index.js";
import type { Shape4, Tf } from "./backend.js";

/** Bytes N,H,W,C are normalised as the graph says; numbers N,C,H,W are so already. */
export function inputImages(tf: Tf, op: OpOf<"input">, { shape, data }: Images): Tensor4D {
  const [channels = 0, height = 0, width = 0] = op.shape;
  const [count = 0] = shape;
  if (!types.isUint8Array(data)) {
    const numbers = toFloat32({ shape, data }).data.slice();
    const planes = tf.tensor4d(numbers, [count, channels, height, width]);
    return tf.transpose(planes, [0, 2, 3, 1]);
  }
  const extents: Shape4 = [count, height, width, channels];
  const tables = Array.from({ length: channels }, (_, c) =>
    Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - op.mean[c]!) / op.std[c]!),
  );
  const numbers = new Float32Array(data.length);
  for (const [c, table] of tables.entries()) {
    for (let i = c; i < data.length; i += channels) numbers[i] = table[data[i]!]!;
  }
  return tf.tensor4d(numbers, extents);
}
