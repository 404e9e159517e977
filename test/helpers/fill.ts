// "Fill v1" of the reference: parameters and inputs from a formula over their names (test/fixtures/README.md).

import type { ParamOp, Tensor, Graph, State } from "../../src/graph/index.js";
import { elementCount, initialTensor, parametersOf } from "../../src/graph/index.js";

// Looking up a global in the middle of a loop is slow where jest runs tests: in a VM context.
const { imul, sqrt } = Math;

function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

function mix(value: number): number {
  let h = value >>> 0;
  h = imul(h ^ (h >>> 16), 0x85ebca6b);
  h = imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function keyOf(name: string, seed = 0): number {
  return mix((fnv1a32(name) ^ seed) >>> 0);
}

/** u_i in [0, 1) for i = 0, 1, ... */
export function fillUniform(name: string, seed = 0): (index: number) => number {
  const key = keyOf(name, seed);
  return (index) => mix((key + imul(index, 0x9e3779b9)) >>> 0) / 2 ** 32;
}

/** The filled tensor of one state entry; undefined where it stays as constructed. */
export function fillParameter(op: ParamOp): Tensor | undefined {
  const last = op.name.slice(op.name.lastIndexOf(".") + 1);
  if (last === "num_batches_tracked") return undefined;
  const fanIn = elementCount(op.shape.slice(1));
  if (last === "running_mean") return spread(op, 0.5, 0.2);
  if (last === "running_var") return spread(op, -0.5, 1);
  if (op.role === "buffer") return undefined;
  if (op.shape.length === 1 && op.name.endsWith("weight")) return spread(op, -0.5, 1);
  if (op.shape.length === 1) return spread(op, 0.5, 0.2);
  if (last === "vector") return spread(op, -0.5, 0.5);
  return spread(op, 0.5, 2 * sqrt(3 / fanIn), 0.7);
}

/** (u - shift) * scale * gain, in one loop without calls: networks have tens of millions of weights. */
function spread(
  { name, shape }: ParamOp,
  shift: number,
  scale: number,
  gain = 1,
): Tensor<Float32Array> {
  const key = keyOf(name);
  const data = new Float32Array(elementCount(shape));
  for (let i = 0; i < data.length; i++) {
    let h = (key + imul(i, 0x9e3779b9)) | 0;
    h = imul(h ^ (h >>> 16), 0x85ebca6b);
    h = imul(h ^ (h >>> 13), 0xc2b2ae35);
    data[i] = (((h ^ (h >>> 16)) >>> 0) * 2 ** -32 - shift) * scale * gain;
  }
  return { shape, data };
}

/** The whole state of a graph, filled. */
export function filledState(graph: Graph): State {
  return new Map(
    parametersOf(graph).map((op) => [op.name, fillParameter(op) ?? initialTensor(op, 0)]),
  );
}

/** An input tensor: (2u - 1) * scale, float32. */
export function fillInput(
  name: string,
  shape: readonly number[],
  scale = 1.7,
): Tensor<Float32Array> {
  const u = fillUniform(name);
  const data = Float32Array.from({ length: elementCount(shape) }, (_, i) => (2 * u(i) - 1) * scale);
  return { shape, data };
}
