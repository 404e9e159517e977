/** Pooling over x_NCHW, as PyTorch defines it. */
import { windowExtent } from "../checks.js";
import type { Float64Tensor } from "../tensor.js";
import type { OpOf } from "../types.js";
import { extents4 } from "./convolution.js";

type PoolOp = OpOf<"maxPool" | "avgPool">;

/** Padding never wins: it counts as minus infinity. */
export function maxPool(x: Float64Tensor, op: OpOf<"maxPool">): Float64Tensor {
  return pool(x, op, (window) => Math.max(...window));
}

export function avgPool(x: Float64Tensor, op: OpOf<"avgPool">): Float64Tensor {
  const area = op.kernel[0] * op.kernel[1];
  return pool(
    x,
    op,
    (window) =>
      window.reduce((sum, value) => sum + value, 0) / (op.countIncludePad ? area : window.length),
  );
}

/** x [N,C,H,W] → [N,C,1,1] */
export function globalAvgPool(x: Float64Tensor): Float64Tensor {
  const [batch, channels, height, width] = extents4(x);
  const area = height * width;
  const data = new Float64Array(batch * channels);
  for (let plane = 0; plane < data.length; plane++) {
    let sum = 0;
    for (let i = plane * area; i < (plane + 1) * area; i++) sum += x.data[i]!;
    data[plane] = sum / area;
  }
  return { shape: [batch, channels, 1, 1], data };
}

/** Applies `reduce` to the pixels of each window that lie inside the image. */
function pool(
  x: Float64Tensor,
  op: PoolOp,
  reduce: (window: readonly number[]) => number,
): Float64Tensor {
  const [batch, channels, height, width] = extents4(x);
  const [top, bottom, left, right] = op.padding;
  const [kernelH, kernelW] = op.kernel;
  const [strideH, strideW] = op.stride;
  const outH = windowExtent(height, {
    kernel: kernelH,
    stride: strideH,
    dilation: 1,
    before: top,
    after: bottom,
  });
  const outW = windowExtent(width, {
    kernel: kernelW,
    stride: strideW,
    dilation: 1,
    before: left,
    after: right,
  });
  const y = new Float64Array(batch * channels * outH * outW);
  let position = 0;
  for (let plane = 0; plane < batch * channels; plane++) {
    for (let oy = 0; oy < outH; oy++) {
      for (let ox = 0; ox < outW; ox++) {
        const window: number[] = [];
        for (let kh = 0; kh < kernelH; kh++) {
          const iy = oy * strideH + kh - top;
          if (iy < 0 || iy >= height) continue;
          for (let kw = 0; kw < kernelW; kw++) {
            const ix = ox * strideW + kw - left;
            if (ix >= 0 && ix < width) window.push(x.data[(plane * height + iy) * width + ix]!);
          }
        }
        y[position++] = reduce(window);
      }
    }
  }
  return { shape: [batch, channels, outH, outW], data: y };
}
