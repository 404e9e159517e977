/**
 * Convolution, as a matrix product of the kernels with what each of their taps sees, and linear layers.
 * x_NIHW, weight_OIHW (I per group), bias_O → y_NOHW. Cross-correlation, zero padding.
 */
import { lines, multiplyAdd } from "../../linalg/index.js";
import { windowExtent } from "../checks.js";
import { toFloats, type Float64Tensor, type Tensor } from "../tensor.js";
import type { OpOf, Pair } from "../types.js";

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
  const window = { kernel: [kernelH, kernelW], output: [outH, outW] } as const;
  // A lone tap that moves by single pixels sees the image as it is.
  const isImage = isPointwise(window, op);
  const columns = isImage ? x.data : new Float64Array(taps * pixels);
  for (let n = 0; n < batch; n++) {
    for (let group = 0; group < op.groups; group++) {
      const first = n * channels + group * perGroup;
      if (!isImage) unfold(columns, x, { ...window, first, channels: perGroup }, op);
      const offset = (n * out + group * rows) * pixels;
      for (let row = 0; bias !== undefined && row < rows; row++) {
        const start = offset + row * pixels;
        y.fill(bias.data[group * rows + row]!, start, start + pixels);
      }
      multiplyAdd(
        lines(y, { offset, distance: pixels, step: 1 }),
        lines(toFloats(weight).data, { offset: group * rows * taps, distance: taps, step: 1 }),
        lines(columns, { offset: isImage ? first * pixels : 0, distance: 1, step: pixels }),
        { rows, columns: pixels, inner: taps },
      );
    }
  }
  return { shape: [batch, out, outH, outW], data: y };
}

interface Window {
  readonly kernel: Pair;
  /** Pixels. */
  readonly output: Pair;
}

function isPointwise({ kernel }: Window, { stride, padding }: OpOf<"conv2d">): boolean {
  return (
    [...kernel, ...stride].every((extent) => extent === 1) && padding.every((pad) => pad === 0)
  );
}

/**
 * Row (i, kh, kw) of `columns`: what that tap of the kernel sees at every output pixel, of `channels`
 * planes of the batch from `first` on.
 */
function unfold(
  columns: Float64Array,
  x: Float64Tensor,
  { kernel, output, first, channels }: Window & { first: number; channels: number },
  { stride: [strideH, strideW], padding: [top, , left], dilation }: OpOf<"conv2d">,
): void {
  const [, , height, width] = extents4(x);
  const [outH, outW] = output;
  columns.fill(0);
  for (let kh = 0; kh < kernel[0]; kh++) {
    const shiftH = kh * dilation[0] - top;
    const firstY = Math.max(0, Math.ceil(-shiftH / strideH));
    const lastY = Math.min(outH - 1, Math.floor((height - 1 - shiftH) / strideH));
    for (let kw = 0; kw < kernel[1]; kw++) {
      const shiftW = kw * dilation[1] - left;
      const firstX = Math.max(0, Math.ceil(-shiftW / strideW));
      const lastX = Math.min(outW - 1, Math.floor((width - 1 - shiftW) / strideW));
      for (let i = 0; i < channels; i++) {
        const tap = (i * kernel[0] + kh) * kernel[1] + kw;
        for (let oy = firstY; oy <= lastY; oy++) {
          const from = ((first + i) * height + oy * strideH + shiftH) * width + shiftW;
          const to = (tap * outH + oy) * outW;
          for (let ox = firstX; ox <= lastX; ox++) columns[to + ox] = x.data[from + ox * strideW]!;
        }
      }
    }
  }
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
