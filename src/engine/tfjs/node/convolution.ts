/**
 * Convolutions by TensorFlow's kernels. On the CPU they have no gradients of grouped and of dilated
 * convolutions (TensorFlow 2.21: "not supported on CPU"), hence the detours below.
 */
import type { Tensor4D, Tensor5D } from "@tensorflow/tfjs-core";

import type { ConvWindow, Layers, Shape4, Tf } from "../backend.js";
import { Attributes, type NodeBackend, sizes } from "./ops.js";

type Convolutions = Pick<Layers, "conv2d" | "conv2dGradX" | "conv2dGradKernel">;

export function convolutions(tf: Tf, backend: NodeBackend): Convolutions {
  const attributes = new Attributes(backend.binding);
  const common = ({ stride, padding }: ConvWindow) => [
    attributes.float32("T"),
    attributes.pair("strides", stride),
    ...attributes.padding(padding),
    attributes.nhwc(),
  ];
  const run = (op: string, window: ConvWindow, inputs: Parameters<typeof execute>[2]) =>
    execute(op, common(window), inputs);
  const execute = (...call: Parameters<NodeBackend["executeSingleOutput"]>) =>
    backend.executeSingleOutput(...call) as Tensor4D;

  /** One group, or a depthwise convolution, without dilation. */
  const gradX = (dy: Tensor4D, kernel: Tensor4D, shape: Shape4, window: ConvWindow): Tensor4D => {
    const size = sizes(tf, shape);
    return window.groups === 1
      ? run("Conv2DBackpropInput", window, [size, kernel, dy])
      : run("DepthwiseConv2dNativeBackpropInput", window, [
          size,
          depthwise(tf, kernel, window),
          dy,
        ]);
  };
  const gradKernel = (x: Tensor4D, dy: Tensor4D, shape: Shape4, window: ConvWindow): Tensor4D => {
    if (window.groups === 1) {
      return run("Conv2DBackpropFilter", window, [x, sizes(tf, shape), dy]);
    }
    const size = sizes(tf, depthwiseShape(shape, window));
    return tf.reshape(run("DepthwiseConv2dNativeBackpropFilter", window, [x, size, dy]), shape);
  };

  const convolutions: Convolutions = {
    conv2d(x, kernel, window) {
      if (isDepthwise(kernel.shape, window) && isPlain(window)) {
        return run("DepthwiseConv2dNative", window, [x, depthwise(tf, kernel, window)]);
      }
      return execute(
        "Conv2D",
        [...common(window), attributes.pair("dilations", window.dilation)],
        [x, kernel],
      );
    },

    conv2dGradX(dy, kernel, shape, window) {
      if (isDilated(window)) {
        const undilated = { ...window, dilation: ONE };
        return convolutions.conv2dGradX(dy, dilate(tf, kernel, window), shape, undilated);
      }
      if (window.groups === 1 || (isDepthwise(kernel.shape, window) && isPlain(window))) {
        return gradX(dy, kernel, shape, window);
      }
      const [count, height, width, channels] = shape;
      const part: Shape4 = [count, height, width, channels / window.groups];
      const kernels = tf.split<Tensor4D>(kernel, window.groups, 3);
      const parts = tf
        .split<Tensor4D>(dy, window.groups, 3)
        .map((piece, i) => gradX(piece, kernels[i]!, part, { ...window, groups: 1 }));
      return tf.concat(parts, 3);
    },

    conv2dGradKernel(x, dy, shape, window) {
      if (isDilated(window)) {
        const undilated = { ...window, dilation: ONE };
        const dense = dilatedShape(shape, window);
        const gradient = convolutions.conv2dGradKernel(x, dy, dense, undilated);
        const [vertical, horizontal] = window.dilation;
        const steps = [vertical, horizontal, 1, 1];
        return tf.stridedSlice(gradient, [0, 0, 0, 0], dense, steps) as Tensor4D;
      }
      if (window.groups === 1 || (isDepthwise(shape, window) && isPlain(window))) {
        return gradKernel(x, dy, shape, window);
      }
      const [height, width, inner, outer] = shape;
      const part: Shape4 = [height, width, inner, outer / window.groups];
      const pieces = tf.split<Tensor4D>(dy, window.groups, 3);
      const parts = tf
        .split<Tensor4D>(x, window.groups, 3)
        .map((piece, i) => gradKernel(piece, pieces[i]!, part, { ...window, groups: 1 }));
      return tf.concat(parts, 3);
    },
  };
  return convolutions;
}

const ONE = [1, 1] as const;

function isDilated({ dilation: [vertical, horizontal] }: ConvWindow): boolean {
  return vertical !== 1 || horizontal !== 1;
}

/** As TensorFlow's depthwise kernels demand on the CPU. */
function isPlain(window: ConvWindow): boolean {
  return !isDilated(window) && window.stride[0] === window.stride[1];
}

/** Each group has one channel. */
function isDepthwise([, , inner]: Shape4, { groups }: ConvWindow): boolean {
  return groups > 1 && inner === 1;
}

/** [h, w, 1, channels*multiplier] as TensorFlow has it: [h, w, channels, multiplier]. */
function depthwise(tf: Tf, kernel: Tensor4D, window: ConvWindow): Tensor4D {
  return tf.reshape(kernel, depthwiseShape(kernel.shape, window));
}

function depthwiseShape([height, width, , outer]: Shape4, { groups }: ConvWindow): Shape4 {
  return [height, width, groups, outer / groups];
}

/** The size of a kernel with zeros in its gaps. */
function dilatedShape([height, width, inner, outer]: Shape4, { dilation }: ConvWindow): Shape4 {
  return [(height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1, inner, outer];
}

/** Zeros in the gaps of a kernel: the same convolution without dilation. */
function dilate(tf: Tf, kernel: Tensor4D, window: ConvWindow): Tensor4D {
  const [height, width, inner, outer] = kernel.shape;
  const [vertical, horizontal] = window.dilation;
  const apart: Tensor5D = tf.reshape(kernel, [height, 1, width, 1, inner * outer]);
  const gaps = tf.pad(apart, [
    [0, 0],
    [0, vertical - 1],
    [0, 0],
    [0, horizontal - 1],
    [0, 0],
  ]);
  const full: Shape4 = [height * vertical, width * horizontal, inner, outer];
  const dense: Tensor4D = tf.reshape(gaps, full);
  return tf.slice(dense, [0, 0, 0, 0], dilatedShape(kernel.shape, window));
}
