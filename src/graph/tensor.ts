/**
 * Dense tensors on the JavaScript side: a shape and a typed array, row-major.
 * Activations are N,C,H,W; kernels O,I,H,W (PyTorch's order, whatever layout an engine prefers).
 */
import { types } from "node:util";

import { RepkitError } from "../errors.js";

/** Element storage. Integers (`num_batches_tracked`) stay 64-bit integers. */
export type TensorData = Float64Array | Float32Array | BigInt64Array;

export interface Tensor<D extends TensorData = TensorData> {
  readonly shape: readonly number[];
  readonly data: D;
}

export type Float64Tensor = Tensor<Float64Array>;

/** Of either width, as it is stored. */
export type FloatTensor = Tensor<Float64Array> | Tensor<Float32Array>;

/**
 * Whoever can hand out the values of a model's parameters and buffers by state-dict name: a `Map`,
 * or an open checkpoint that reads a tensor when it is asked for.
 */
export interface StateSource {
  /** The tensor of that name, or undefined where the source has none. */
  get(name: string): Tensor | undefined;
}

/** A state held in memory, in state-dict order. */
export type State = Map<string, Tensor>;

/** Number of elements of a shape; 1 for a scalar (`[]`). */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** `(64,3,7,7)`; `()` for a scalar. */
export function formatShape(shape: readonly number[]): string {
  return `(${shape.join(",")})`;
}

/** A float64 tensor from numbers, checked against its shape. */
export function tensor64(shape: readonly number[], values?: ArrayLike<number>): Float64Tensor {
  const count = elementCount(shape);
  if (values === undefined) return { shape, data: new Float64Array(count) };
  if (values.length !== count) {
    throw new RepkitError(
      "internal",
      `tensor of shape ${formatShape(shape)} needs ${count} values, received ${values.length}`,
    );
  }
  return { shape, data: Float64Array.from(values) };
}

/** The same values as float64; the very same tensor where it is float64 already. */
export function toFloat64(tensor: Tensor): Float64Tensor {
  const { data, shape } = tensor;
  if (types.isFloat64Array(data)) return { shape, data };
  if (types.isBigInt64Array(data)) return { shape, data: Float64Array.from(data, Number) };
  return { shape, data: new Float64Array(data) };
}

/** The very same tensor, or integers as float64. */
export function toFloats(tensor: Tensor): FloatTensor {
  const { data, shape } = tensor;
  return types.isFloat32Array(data) ? { shape, data } : toFloat64(tensor);
}

/** The same values rounded once to float32; the very same tensor where it is float32 already. */
export function toFloat32(tensor: Tensor): Tensor<Float32Array> {
  const { data, shape } = tensor;
  if (types.isFloat32Array(data)) return { shape, data };
  return { shape, data: new Float32Array(toFloat64({ shape, data }).data) };
}
