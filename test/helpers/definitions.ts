// Layers written out from their definitions, apart from the product's own interpreter.

import type { Float64Tensor, Padding, Pair, State } from "../../src/graph/index.js";
import { toFloat64 } from "../../src/graph/index.js";
import { build } from "./numbers.js";

export interface Convolution {
  stride: Pair;
  padding: Padding;
  dilation: Pair;
  groups: number;
}

/** y[n,o,r,c] = b[o] + Σ over i,u,v of w[o,i,u,v] * x[n, group, r*stride + u*dilation - padding, ...]. */
export function convolve(
  x: Float64Tensor,
  w: Float64Tensor,
  bias: Float64Tensor | undefined,
  { stride, padding, dilation, groups }: Convolution,
): Float64Tensor {
  const [batch = 0, channels = 0, height = 0, width = 0] = x.shape;
  const [out = 0, perGroup = 0, kernelH = 0, kernelW = 0] = w.shape;
  const [top, bottom, left, right] = padding;
  const pixel = (n: number, i: number, row: number, column: number) =>
    row < 0 || row >= height || column < 0 || column >= width
      ? 0
      : x.data[((n * channels + i) * height + row) * width + column]!;
  const data: number[] = [];
  let rows = 0;
  let columns = 0;
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < out; o++) {
      const firstChannel = Math.floor((o * groups) / out) * perGroup;
      rows = 0;
      for (let r = -top; r + dilation[0] * (kernelH - 1) < height + bottom; r += stride[0]) {
        rows++;
        columns = 0;
        for (let c = -left; c + dilation[1] * (kernelW - 1) < width + right; c += stride[1]) {
          columns++;
          let sum = bias?.data[o] ?? 0;
          for (let i = 0; i < perGroup; i++) {
            for (let u = 0; u < kernelH; u++) {
              for (let v = 0; v < kernelW; v++) {
                const factor = w.data[((o * perGroup + i) * kernelH + u) * kernelW + v]!;
                const [row, column] = [r + u * dilation[0], c + v * dilation[1]];
                sum += factor * pixel(n, firstChannel + i, row, column);
              }
            }
          }
          data.push(sum);
        }
      }
    }
  }
  return { shape: [batch, out, rows, columns], data: Float64Array.from(data) };
}

/** The same for square windows, all options plain unless given. */
export function convolveSquare(
  x: Float64Tensor,
  w: Float64Tensor,
  options: { stride?: number; padding?: number; dilation?: number; groups?: number } = {},
  bias?: Float64Tensor,
): Float64Tensor {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  return convolve(x, w, bias, {
    stride: [stride, stride],
    padding: [padding, padding, padding, padding],
    dilation: [dilation, dilation],
    groups,
  });
}

/** The four vectors of a batch norm in a state, and what it makes of one value in evaluation. */
function norm(state: State, name: string) {
  const vector = (last: string) => tensorOf(state, `${name}.${last}`).data;
  const [gamma, beta] = [vector("weight"), vector("bias")];
  const [mean, variance] = [vector("running_mean"), vector("running_var")];
  return (value: number, c: number) =>
    ((value - mean[c]!) * gamma[c]!) / Math.sqrt(variance[c]! + 1e-5) + beta[c]!;
}

/** Batch norm in evaluation, with a border of what it makes of zero. */
export function normalise(x: Float64Tensor, state: State, name: string, pad = 0): Float64Tensor {
  const [batch = 0, channels = 0, height = 0, width = 0] = x.shape;
  const apply = norm(state, name);
  return build([batch, channels, height + 2 * pad, width + 2 * pad], (place) => {
    const [n = 0, c = 0, h = 0, w = 0] = place;
    const [row, column] = [h - pad, w - pad];
    const inside = row >= 0 && row < height && column >= 0 && column < width;
    const value = inside ? x.data[((n * channels + c) * height + row) * width + column]! : 0;
    return apply(value, c);
  });
}

export function sum(...terms: readonly Float64Tensor[]): Float64Tensor {
  const [first] = terms as [Float64Tensor];
  const data = first.data.map((_, i) => terms.reduce((total, term) => total + term.data[i]!, 0));
  return { shape: first.shape, data };
}

/** A tensor of a state, in float64. */
export function tensorOf(state: State, name: string): Float64Tensor {
  const tensor = state.get(name);
  if (tensor === undefined) throw new Error(`the state has no ${name}`);
  return toFloat64(tensor);
}
