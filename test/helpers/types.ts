// Value types, plain ops and values of a given type, for tests of inference.

import {
  type GraphBuilder,
  type OpOf,
  type ParamOp,
  type Value,
  type ValueType,
} from "../../src/graph/index.js";
import { weight } from "./graphs.js";

export const a = (...shape: number[]): ValueType => ({ world: "activation", shape });
export const w = (...shape: number[]): ValueType => ({ world: "weight", shape });

/** A value of that type in the graph under construction. Activations are images or vectors. */
export function valueOf(builder: GraphBuilder, { world, shape }: ValueType, name: string): Value {
  const scope = builder.root().child(name);
  if (world === "weight") return weight(scope, "w", shape);
  const [channels = 1, height = 1, width = 1] = shape;
  const image = scope.input([channels, height, width]);
  return shape.length === 3 ? image : scope.flatten(image);
}

export const input = (attributes: Partial<OpOf<"input">> = {}): OpOf<"input"> => ({
  kind: "input",
  shape: [2, 4, 4],
  mean: [0, 0],
  std: [1, 1],
  ...attributes,
});

export const param = (attributes: Partial<ParamOp> = {}): ParamOp => ({
  kind: "param",
  name: "weight",
  shape: [2, 3],
  role: "param",
  dtype: "f32",
  init: { kind: "constant", value: 0 },
  decay: "none",
  ...attributes,
});

export const conv2d = (attributes: Partial<OpOf<"conv2d">> = {}): OpOf<"conv2d"> => ({
  kind: "conv2d",
  stride: [1, 1],
  padding: [0, 0, 0, 0],
  dilation: [1, 1],
  groups: 1,
  ...attributes,
});

export const batchNorm = (attributes: Partial<OpOf<"batchNorm">> = {}): OpOf<"batchNorm"> => ({
  kind: "batchNorm",
  eps: 1e-5,
  momentum: 0.1,
  pad: [0, 0, 0, 0],
  ...attributes,
});

export const maxPool = (attributes: Partial<OpOf<"maxPool">> = {}): OpOf<"maxPool"> => ({
  kind: "maxPool",
  kernel: [2, 2],
  stride: [2, 2],
  padding: [0, 0, 0, 0],
  ...attributes,
});

export const avgPool = (attributes: Partial<OpOf<"avgPool">> = {}): OpOf<"avgPool"> => ({
  kind: "avgPool",
  kernel: [3, 3],
  stride: [1, 1],
  padding: [0, 0, 0, 0],
  countIncludePad: true,
  ...attributes,
});

export const embed = (attributes: Partial<OpOf<"embed">> = {}): OpOf<"embed"> => ({
  kind: "embed",
  kernel: [3, 3],
  offset: [1, 1],
  dilation: [1, 1],
  groups: { from: 1, to: 1 },
  ...attributes,
});

export const compose = (
  attributes: Partial<OpOf<"composeKernels">> = {},
): OpOf<"composeKernels"> => ({
  kind: "composeKernels",
  groups: 1,
  correlate: false,
  ...attributes,
});

export const einsum = (equation: string): OpOf<"einsum"> => ({ kind: "einsum", equation });
