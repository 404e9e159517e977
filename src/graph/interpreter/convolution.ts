/**
 * Convolution, as a matrix product of the kernels with what each of their taps sees, and linear layers.
 * x_NIHW, weight_OIHW (I per group), bias_O → y_NOHW. Cross-correlation, zero padding.
 */
import { lines, multiplyAdd } from "../../linalg/index.js";
import { windowExtent } from "../checks.js";
import { toFloats, type Float64Tensor, type Tensor } from "../tensor.js";
import type { OpOf } from "../types.js";

export function conv2d(
  x: Float64Tensor,
  weight: Tensor,
  bias: Float64Tensor | undefined,
  op: OpOf<"conv2d">,
): Float64Tensor {
  const [batch, channels, height, width] = extents4(x);
  const [out, perGroup, kernelH, kernelW] = extents4(weight);
  const [top, bottom, left, right] = op.padding;
  const [strideH, strideW] = op.stride;
  const [dilationH, dilationW] = op.dilation;
  const outH = windowExtent(height, {
    kernel: kernelH,
    stride: strideH,
    dilation: dilationH,
    before: top,
    after: bottom,
  });
  const outW = windowExtent(width, {
    kernel: kernelW,
    stride: strideW,
    dilation: dilationW,
    before: left,
    after: right,
  });
  const y = new Float64Array(batch * out * outH * outW);
  const rows = out / op.groups;
  const taps = perGroup * kernelH * kernelW;
  const pixels = outH * outW;
  const columns = new Float64Array(taps * pixels);
  for (let n = 0; n < batch; n++) {
    for (let group = 0; group < op.groups; group++) {
      // Row (i, kh, kw) of `columns`: what that tap of the kernel sees at every output pixel.
      columns.fill(0);
      for (let tap = 0; tap < taps; tap++) {
        const i = Math.floor(tap / (kernelH * kernelW));
        const kh = Math.floor(tap / kernelW) % kernelH;
        const shiftH = kh * dilationH - top;
        const shiftW = (tap % kernelW) * dilationW - left;
        const image = (n * channels + group * perGroup + i) * height * width;
        const firstX = Math.max(0, Math.ceil(-shiftW / strideW));
        const lastX = Math.min(outW - 1, Math.floor((width - 1 - shiftW) / strideW));
        for (let oy = 0; oy < outH; oy++) {
          const iy = oy * strideH + shiftH;
          if (iy < 0 || iy >= height) continue;
          const from = image + iy * width + shiftW;
          const to = tap * pixels + oy * outW;
          for (let ox = firstX; ox <= lastX; ox++) columns[to + ox] = x.data[from + ox * strideW]!;
        }
      }
      const offset = (n * out + group * rows) * pixels;
      for (let row = 0; bias !== undefined && row < rows; row++) {
        const start = offset + row * pixels;
        y.fill(bias.data[group * rows + row]!, start, start + pixels);
      }
      multiplyAdd(
        lines(y, { offset, distance: pixels, step: 1 }),
        lines(toFloats(weight).data, { offset: group * rows * taps, distance: taps, step: 1 }),
        lines(columns, { distance: 1, step: pixels }),
        { rows, columns: pixels, inner: taps },
      );
    }
  }
  return { shape: [batch, out, outH, outW], data: y };
}

/** x [N,I], weight [O,I], bias [O] → [N,O] */
export function linear(
  x: Float64Tensor,
  weight: Tensor,
  bias: Float64Tensor | undefined,
): Float64Tensor {
  const [batch = 0, features = 0] = x.shape;
  const [out = 0] = weight.shape;
  const y = new Float64Array(batch * out);
  for (let n = 0; bias !== undefined && n < batch; n++) y.set(bias.data, n * out);
  multiplyAdd(
    lines(y, { distance: 1, step: out }),
    lines(toFloats(weight).data, { distance: features, step: 1 }),
    lines(x.data, { distance: features, step: 1 }),
    { rows: out, columns: batch, inner: features },
  );
  return { shape: [batch, out], data: y };
}

/** The four extents of an image batch or a kernel. */
export function extents4(tensor: Tensor): readonly [number, number, number, number] {
  const [a = 1, b = 1, c = 1, d = 1] = tensor.shape;
  return [a, b, c, d];
}
