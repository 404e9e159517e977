/** The layers in TensorFlow.js's own kernels, for backends that have nothing better. */
import type { NamedAttrMap, Rank, Tensor, Tensor1D, Tensor4D } from "@tensorflow/tfjs-core";

import type { Padding, Pair } from "../../graph/index.js";
import type { AvgPoolWindow, ConvWindow, Layers, PoolWindow, Shape4, Tf } from "./backend.js";

const PIXELS = [0, 1, 2];

/** A kernel runs as it is: no gradient tape, no conversion of arguments. */
export function runKernel<T extends Tensor>(
  tf: Tf,
  name: string,
  inputs: Record<string, Tensor>,
  attributes: object,
): T {
  return tf.engine().runKernel<T>(name, inputs, attributes as NamedAttrMap);
}

export function plainLayers(tf: Tf): Layers {
  const run = runKernel<Tensor4D>;
  const dense = denseConvolution(tf);
  const depthwise = depthwiseConvolution(tf);

  /** Which passes a convolution of these channels takes. */
  const passes = ({ groups }: ConvWindow, channels: number, out: number) =>
    groups === 1 ? dense : groups === channels && out % channels === 0 ? depthwise : undefined;

  return {
    conv2d(x, kernel, window) {
      const wide = spread(tf, kernel, window.dilation);
      const found = passes(window, x.shape[3], kernel.shape[3]);
      if (found !== undefined) return found.forward(x, wide, window);
      const xs = tf.split<Tensor4D>(x, window.groups, 3);
      const kernels = tf.split<Tensor4D>(wide, window.groups, 3);
      return tf.concat(
        xs.map((part, group) => dense.forward(part, kernels[group]!, window)),
        3,
      );
    },

    conv2dGradX(dy, kernel, shape, window) {
      const wide = spread(tf, kernel, window.dilation);
      const found = passes(window, shape[3], kernel.shape[3]);
      if (found !== undefined) return found.gradX(dy, wide, shape, window);
      const dys = tf.split<Tensor4D>(dy, window.groups, 3);
      const kernels = tf.split<Tensor4D>(wide, window.groups, 3);
      const [batch, height, width, channels] = shape;
      const part: Shape4 = [batch, height, width, channels / window.groups];
      return tf.concat(
        dys.map((own, group) => dense.gradX(own, kernels[group]!, part, window)),
        3,
      );
    },

    conv2dGradKernel(x, dy, shape, window) {
      const [height, width, inputs, out] = shape;
      const [down, right] = window.dilation;
      const extents: Pair = [(height - 1) * down + 1, (width - 1) * right + 1];
      const wide: Shape4 = [...extents, inputs, out];
      const found = passes(window, x.shape[3], out);
      if (found !== undefined) {
        return taps(tf, found.gradKernel(x, dy, wide, window), window.dilation);
      }
      const xs = tf.split<Tensor4D>(x, window.groups, 3);
      const dys = tf.split<Tensor4D>(dy, window.groups, 3);
      const part: Shape4 = [...extents, inputs, out / window.groups];
      const gradients = xs.map((own, group) => dense.gradKernel(own, dys[group]!, part, window));
      return taps(tf, tf.concat(gradients, 3), window.dilation);
    },

    batchNorm(x, gamma, beta, eps) {
      const mean = tf.mean<Tensor1D>(x, PIXELS);
      const centred = tf.sub(x, mean);
      const variance = tf.mean<Tensor1D>(tf.square(centred), PIXELS);
      const scale = tf.mul(gamma, tf.rsqrt(tf.add(variance, eps)));
      return { y: tf.add(tf.mul(centred, scale), beta), mean, variance };
    },

    /** dx = gamma/std (dy - mean(dy) - xhat mean(dy xhat)) */
    batchNormGrad(dy, { x, gamma, mean, variance, eps }) {
      const count = x.size / x.shape[3];
      const inverse = tf.rsqrt(tf.add(variance, eps));
      const normal = tf.mul(tf.sub(x, mean), inverse);
      const dbeta = tf.sum<Tensor1D>(dy, PIXELS);
      const dgamma = tf.sum<Tensor1D>(tf.mul(dy, normal), PIXELS);
      const rest = tf.sub(tf.sub(dy, tf.div(dbeta, count)), tf.mul(normal, tf.div(dgamma, count)));
      return { dx: tf.mul(rest, tf.mul(gamma, inverse)), dgamma, dbeta };
    },

    batchNormInfer(x, { mean, variance, eps }, gamma, beta) {
      return tf.batchNorm4d(x, mean, variance, beta, gamma, eps);
    },

    maxPool: (x, window) => run(tf, tf.MaxPool, { x }, poolAttributes(window)),

    maxPoolGrad(dy, x, y, window) {
      return run(tf, tf.MaxPoolGrad, { dy, input: x, output: y }, poolAttributes(window));
    },

    avgPool(x, window) {
      const { padded, inside } = countingPadding(tf, x, window);
      return run(tf, tf.AvgPool, { x: padded }, poolAttributes(inside));
    },

    avgPoolGrad(dy, shape, window) {
      const [batch, height, width, channels] = shape;
      const [top, bottom, left, right] = window.countIncludePad ? window.padding : [0, 0, 0, 0];
      // Of the input, the kernel asks for the shape alone.
      const extents: Shape4 = [batch, height + top + bottom, width + left + right, channels];
      const input = tf.zeros<Rank.R4>(extents);
      const inside = window.countIncludePad
        ? { ...window, padding: [0, 0, 0, 0] as const }
        : window;
      const dx = run(tf, tf.AvgPoolGrad, { dy, input }, poolAttributes(inside));
      return tf.slice4d(dx, [0, top, left, 0], shape);
    },

    relu: (x) => tf.relu(x),
    reluGrad: (dy, y) => tf.mul(dy, tf.step(y)),
  };
}

interface Passes {
  forward(x: Tensor4D, kernel: Tensor4D, window: ConvWindow): Tensor4D;
  gradX(dy: Tensor4D, kernel: Tensor4D, shape: Shape4, window: ConvWindow): Tensor4D;
  gradKernel(x: Tensor4D, dy: Tensor4D, shape: Shape4, window: ConvWindow): Tensor4D;
}

function denseConvolution(tf: Tf): Passes {
  const attributes = ({ stride, padding }: ConvWindow) => ({
    strides: stride,
    pad: explicit(padding),
    dataFormat: "NHWC",
    dimRoundingMode: null,
  });
  return {
    forward: (x, filter, window) =>
      runKernel(tf, tf.Conv2D, { x, filter }, { ...attributes(window), dilations: [1, 1] }),
    gradX: (dy, filter, inputShape, window) =>
      runKernel(tf, tf.Conv2DBackpropInput, { dy, filter }, { ...attributes(window), inputShape }),
    gradKernel: (x, dy, filterShape, window) =>
      runKernel(tf, tf.Conv2DBackpropFilter, { x, dy }, { ...attributes(window), filterShape }),
  };
}

/**
 * Kernels are [h,w,1,O] here and [h,w,I,O/I] there: the same numbers in the same order, as output
 * channel i * O/I + m belongs to input channel i in both.
 */
function depthwiseConvolution(tf: Tf): Passes {
  const attributes = ({ stride, padding }: ConvWindow) => ({
    ...{ strides: stride, pad: explicit(padding), dilations: [1, 1], dimRoundingMode: null },
  });
  const perChannel = ([h, w, , out]: Shape4, channels: number): Shape4 =>
    [...[h, w, channels, out / channels]] as Shape4;
  return {
    forward(x, kernel, window) {
      const filter = tf.reshape(kernel, perChannel(kernel.shape, x.shape[3]));
      return runKernel(tf, tf.DepthwiseConv2dNative, { x, filter }, attributes(window));
    },
    gradX(dy, kernel, inputShape, window) {
      const filter = tf.reshape(kernel, perChannel(kernel.shape, inputShape[3]));
      const options = { ...attributes(window), inputShape };
      return runKernel(tf, tf.DepthwiseConv2dNativeBackpropInput, { dy, filter }, options);
    },
    gradKernel(x, dy, shape, window) {
      const options = { ...attributes(window), filterShape: perChannel(shape, x.shape[3]) };
      const gradient = runKernel(tf, tf.DepthwiseConv2dNativeBackpropFilter, { x, dy }, options);
      return tf.reshape(gradient, shape);
    },
  };
}

/** A dilated kernel as a larger one with zeros in between: few backends differentiate dilation. */
export function spread(tf: Tf, kernel: Tensor4D, [down, right]: Pair): Tensor4D {
  if (down === 1 && right === 1) return kernel;
  const [height, width, inputs, out] = kernel.shape;
  const gaps = tf.pad(tf.reshape(kernel, [height, 1, width, 1, inputs * out]), [
    ...([
      [0, 0],
      [0, down - 1],
      [0, 0],
      [0, right - 1],
      [0, 0],
    ] as [number, number][]),
  ]);
  const extents: Shape4 = [height * down, width * right, inputs, out];
  const flat = tf.reshape<Rank.R4>(gaps, extents);
  return tf.slice4d(flat, [0, 0, 0, 0], [
    ...[(height - 1) * down + 1, (width - 1) * right + 1, inputs, out],
  ] as Shape4);
}

/** What `spread` has put the kernel's taps to. */
export function taps(tf: Tf, wide: Tensor4D, [down, right]: Pair): Tensor4D {
  if (down === 1 && right === 1) return wide;
  return tf.stridedSlice(wide, [0, 0, 0, 0], wide.shape, [down, right, 1, 1]) as Tensor4D;
}

function poolAttributes({ kernel, stride, padding }: PoolWindow) {
  return { filterSize: kernel, strides: stride, pad: explicit(padding), dimRoundingMode: null };
}

/** TensorFlow's average never counts padding: what shall count is put there as zeros. */
function countingPadding(tf: Tf, x: Tensor4D, window: AvgPoolWindow) {
  if (!window.countIncludePad || isZero(window.padding)) return { padded: x, inside: window };
  const padded = tf.pad4d(x, explicit(window.padding));
  return { padded, inside: { ...window, padding: [0, 0, 0, 0] as const } };
}

const isZero = (padding: Padding) => padding.every((side) => side === 0);

type Sides = [number, number];

/** TensorFlow's form of explicit padding, by axis of N,H,W,C. */
export function explicit([top, bottom, left, right]: Padding): [Sides, Sides, Sides, Sides] {
  return [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ];
}
