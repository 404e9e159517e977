/**
 * Convolution and linear layers, straight from their definitions.
 * x_NIHW, weight_OIHW (I per group), bias_O → y_NOHW. Cross-correlation, zero padding.
 */
import { windowExtent } from "../infer.js";
import type { Float64Tensor } from "../tensor.js";
import type { OpOf } from "../types.js";

export function conv2d(
  x: Float64Tensor,
  weight: Float64Tensor,
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
  const outPerGroup = out / op.groups;
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < out; o++) {
      const yStart = (n * out + o) * outH * outW;
      if (bias !== undefined) y.fill(bias.data[o]!, yStart, yStart + outH * outW);
      const firstChannel = Math.floor(o / outPerGroup) * perGroup;
      for (let i = 0; i < perGroup; i++) {
        const xStart = (n * channels + firstChannel + i) * height * width;
        for (let kh = 0; kh < kernelH; kh++) {
          for (let kw = 0; kw < kernelW; kw++) {
            const w = weight.data[((o * perGroup + i) * kernelH + kh) * kernelW + kw]!;
            if (w === 0) continue;
            // Only windows whose pixel (kh, kw) lies inside the image; the rest adds zeros.
            const columnShift = kw * dilationW - left;
            const firstX = Math.max(0, Math.ceil(-columnShift / strideW));
            const lastX = Math.min(outW - 1, Math.floor((width - 1 - columnShift) / strideW));
            for (let oy = 0; oy < outH; oy++) {
              const iy = oy * strideH + kh * dilationH - top;
              if (iy < 0 || iy >= height) continue;
              const row = xStart + iy * width + columnShift;
              const target = yStart + oy * outW;
              for (let ox = firstX; ox <= lastX; ox++) {
                y[target + ox]! += w * x.data[row + ox * strideW]!;
              }
            }
          }
        }
      }
    }
  }
  return { shape: [batch, out, outH, outW], data: y };
}

/** x [N,I], weight [O,I], bias [O] → [N,O] */
export function linear(
  x: Float64Tensor,
  weight: Float64Tensor,
  bias: Float64Tensor | undefined,
): Float64Tensor {
  const [batch = 0, features = 0] = x.shape;
  const [out = 0] = weight.shape;
  const y = new Float64Array(batch * out);
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < out; o++) {
      let sum = bias === undefined ? 0 : bias.data[o]!;
      for (let i = 0; i < features; i++) {
        sum += weight.data[o * features + i]! * x.data[n * features + i]!;
      }
      y[n * out + o] = sum;
    }
  }
  return { shape: [batch, out], data: y };
}

/** The four extents of an image batch or a kernel. */
export function extents4(tensor: Float64Tensor): readonly [number, number, number, number] {
  const [a = 1, b = 1, c = 1, d = 1] = tensor.shape;
  return [a, b, c, d];
}
