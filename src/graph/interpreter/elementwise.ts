/** Ops that work value by value, and joining. */
import { addScaled } from "../../linalg/index.js";
import { elementCount, type Float64Tensor, type FloatTensor } from "../tensor.js";

export function map(x: Float64Tensor, f: (value: number) => number): Float64Tensor {
  const data = new Float64Array(x.data.length);
  for (let i = 0; i < data.length; i++) data[i] = f(x.data[i]!);
  return { shape: x.shape, data };
}

export function relu(x: Float64Tensor): Float64Tensor {
  // A NaN stays a NaN, as in PyTorch.
  return map(x, (value) => (value < 0 ? 0 : value));
}

export function silu(x: Float64Tensor): Float64Tensor {
  return map(x, (value) => value / (1 + Math.exp(-value)));
}

export function sigmoid(x: Float64Tensor): Float64Tensor {
  return map(x, (value) => 1 / (1 + Math.exp(-value)));
}

export function add(terms: readonly FloatTensor[]): Float64Tensor {
  const [first, ...rest] = terms as [FloatTensor, ...FloatTensor[]];
  const data = new Float64Array(first.data);
  for (const term of rest) addScaled(data, term.data);
  return { shape: first.shape, data };
}

export function sub(a: Float64Tensor, b: Float64Tensor): Float64Tensor {
  const data = new Float64Array(a.data.length);
  for (let i = 0; i < data.length; i++) data[i] = a.data[i]! - b.data[i]!;
  return { shape: a.shape, data };
}

/** Equal shapes, or b [N,C,1,1] against a [N,C,H,W]: the one broadcast that the graph knows. */
export function mul(a: Float64Tensor, b: Float64Tensor): Float64Tensor {
  const repeat = a.data.length / b.data.length;
  const data = new Float64Array(a.data.length);
  for (let i = 0; i < data.length; i++) data[i] = a.data[i]! * b.data[Math.floor(i / repeat)]!;
  return { shape: a.shape, data };
}

export function concat(parts: readonly Float64Tensor[], axis: number): Float64Tensor {
  const [first] = parts as [Float64Tensor];
  const shape = [...first.shape];
  shape[axis] = parts.reduce((sum, part) => sum + part.shape[axis]!, 0);
  const outer = elementCount(shape.slice(0, axis));
  const data = new Float64Array(elementCount(shape));
  let position = 0;
  for (let n = 0; n < outer; n++) {
    for (const part of parts) {
      const length = part.data.length / outer;
      data.set(part.data.subarray(n * length, (n + 1) * length), position);
      position += length;
    }
  }
  return { shape, data };
}
