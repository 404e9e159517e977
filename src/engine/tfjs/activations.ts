/** Ops on activations: N,H,W,C while they are images, N,C after `flatten`. */
import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";

import { RepkitError } from "../../errors.js";
import type { Node, OpOf, Padding } from "../../graph/index.js";
import type { AvgPoolWindow, ConvWindow, PoolWindow, Shape4 } from "./backend.js";
import { explicit } from "./layers.js";
import type { Computed, Toolbox } from "./ops.js";
import { sumOf } from "./weights.js";

export interface ActivationOptions {
  readonly training: boolean;
  /** The kernel of a convolution is H,W,I,O already. */
  readonly isKernelReady: boolean;
}

export function computeActivation(
  tools: Toolbox,
  node: Node,
  inputs: readonly Tensor[],
  options: ActivationOptions,
): Computed {
  const { tf, layers } = tools;
  const { op } = node;
  const [x, y] = inputs as [Tensor, Tensor];
  const image = x as Tensor4D;
  // eslint-disable-next-line @typescript-eslint/switch-exhaustiveness-check -- weights are computed elsewhere
  switch (op.kind) {
    case "conv2d":
      return convolution(tools, op, inputs, options.isKernelReady);
    case "batchNorm":
      return batchNorm(tools, op, inputs, options.training);
    case "relu": {
      const value = x.rank === 4 ? layers.relu(image) : tf.relu(x);
      const backward = (dy: Tensor) => [
        x.rank === 4
          ? layers.reluGrad(dy as Tensor4D, value as Tensor4D)
          : tf.mul(dy, tf.step(value)),
      ];
      return { value, saved: [value], backward };
    }
    case "sigmoid": {
      const value = tf.sigmoid(x);
      const slope = () => tf.mul(value, tf.sub(1, value));
      return { value, saved: [value], backward: (dy) => [tf.mul(dy, slope())] };
    }
    case "silu": {
      // d/dx x s(x) = s (1 + x (1 - s))
      const slope = () => {
        const s = tf.sigmoid(x);
        return tf.mul(s, tf.add(1, tf.mul(x, tf.sub(1, s))));
      };
      const value = tf.mul(x, tf.sigmoid(x));
      return { value, saved: [x], backward: (dy) => [tf.mul(dy, slope())] };
    }
    case "maxPool": {
      const window: PoolWindow = op;
      const value = layers.maxPool(image, window);
      const backward = (dy: Tensor) => [layers.maxPoolGrad(dy as Tensor4D, image, value, window)];
      return { value, saved: [image, value], backward };
    }
    case "avgPool": {
      const window: AvgPoolWindow = op;
      return {
        value: layers.avgPool(image, window),
        backward: (dy) => [layers.avgPoolGrad(dy as Tensor4D, image.shape, window)],
      };
    }
    case "globalAvgPool": {
      const [, height, width] = image.shape;
      return {
        value: tf.mean(image, [1, 2], true),
        backward: (dy) => [tf.tile(tf.div(dy, height * width), [1, height, width, 1])],
      };
    }
    case "flatten":
      return flatten(tools, image);
    case "linear":
      return linear(tools, inputs);
    case "add":
      return { value: sumOf(tools, inputs), backward: (dy) => inputs.map(() => tf.clone(dy)) };
    case "mul":
      return {
        value: tf.mul(x, y),
        saved: [x, y],
        backward: (dy, wants) => [
          wants(0) ? tf.mul(dy, y) : undefined,
          wants(1) ? summedTo(tools, tf.mul(dy, x), y) : undefined,
        ],
      };
    case "concat": {
      const axis = x.rank - 1;
      const extents = inputs.map(({ shape }) => shape[axis]!);
      return {
        value: tf.concat([...inputs], axis),
        backward: (dy) => tf.split(dy, extents, axis),
      };
    }
    default:
      throw new RepkitError("internal", `no activation: ${op.kind}`);
  }
}

/** Squeeze-and-excitation's gate [N,1,1,C] gets what all pixels have of it. */
function summedTo({ tf }: Toolbox, gradient: Tensor, to: Tensor): Tensor {
  const axes = to.shape.flatMap((extent, axis) =>
    extent === 1 && gradient.shape[axis] !== 1 ? [axis] : [],
  );
  return axes.length === 0 ? gradient : tf.sum(gradient, axes, true);
}

function convolution(
  { tf, layers }: Toolbox,
  op: OpOf<"conv2d">,
  inputs: readonly Tensor[],
  isKernelReady: boolean,
): Computed {
  const [x, weight, bias] = inputs as [Tensor4D, Tensor4D, Tensor1D | undefined];
  const kernel = isKernelReady ? weight : tf.transpose(weight, [2, 3, 1, 0]);
  const crop = op.padding.map((side) => Math.min(side, 0)) as unknown as Padding;
  const window: ConvWindow = {
    ...{ stride: op.stride, dilation: op.dilation, groups: op.groups },
    kernel: [kernel.shape[0], kernel.shape[1]],
    padding: op.padding.map((side) => Math.max(side, 0)) as unknown as Padding,
  };
  const inside = cropped({ tf }, x, crop);
  const y = layers.conv2d(inside, kernel, window);
  return {
    value: bias === undefined ? y : tf.add(y, bias),
    saved: [inside, kernel],
    backward(gradient, wants) {
      const dy = gradient as Tensor4D;
      const ofX = () => {
        const dx = layers.conv2dGradX(dy, kernel, inside.shape, window);
        return crop.some((side) => side !== 0) ? tf.pad4d(dx, explicit(negated(crop))) : dx;
      };
      const ofKernel = () => {
        const found = layers.conv2dGradKernel(inside, dy, kernel.shape, window);
        return isKernelReady ? found : tf.transpose(found, [3, 2, 0, 1]);
      };
      return [
        wants(0) ? ofX() : undefined,
        wants(1) ? ofKernel() : undefined,
        bias !== undefined && wants(2) ? tf.sum(dy, [0, 1, 2]) : undefined,
      ];
    },
  };
}

function cropped({ tf }: Pick<Toolbox, "tf">, x: Tensor4D, crop: Padding): Tensor4D {
  if (crop.every((side) => side === 0)) return x;
  const [top, bottom, left, right] = crop;
  const [batch, height, width, channels] = x.shape;
  const size: Shape4 = [batch, height + top + bottom, width + left + right, channels];
  return tf.slice4d(x, [0, -top, -left, 0], size);
}

const negated = (padding: Padding) => padding.map((side) => -side) as unknown as Padding;

function batchNorm(
  tools: Toolbox,
  { eps, momentum, pad }: OpOf<"batchNorm">,
  inputs: readonly Tensor[],
  training: boolean,
): Computed {
  const { tf, layers } = tools;
  const [x, gamma, beta, mean, variance] = inputs as [
    ...[Tensor4D, Tensor1D, Tensor1D, Tensor1D, Tensor1D],
  ];
  if (!training) {
    const y = layers.batchNormInfer(x, { mean, variance, eps }, gamma, beta);
    const border = () => tf.sub(beta, tf.mul(mean, tf.mul(gamma, tf.rsqrt(tf.add(variance, eps)))));
    return { value: bordered(tools, y, pad, border) };
  }
  const now = layers.batchNorm(x, gamma, beta, eps);
  const count = x.size / x.shape[3];
  const mixed = (before: Tensor1D, own: Tensor1D, factor: number) =>
    tf.add(tf.mul(before, 1 - momentum), tf.mul(own, momentum * factor));
  // The running variance is the unbiased one.
  const running = {
    mean: mixed(mean, now.mean, 1),
    variance: mixed(variance, now.variance, count / Math.max(count - 1, 1)),
  };
  const border = () =>
    tf.sub(beta, tf.mul(running.mean, tf.mul(gamma, tf.rsqrt(tf.add(running.variance, eps)))));
  const saved = { x, gamma, mean: now.mean, variance: now.variance, eps };
  return {
    value: bordered(tools, now.y, pad, border),
    saved: [x, now.mean, now.variance],
    running,
    backward(dy) {
      const [top, , left] = pad;
      const inner = isZero(pad)
        ? (dy as Tensor4D)
        : tf.slice4d(dy as Tensor4D, [0, top, left, 0], x.shape);
      const { dx, dgamma, dbeta } = layers.batchNormGrad(inner, saved);
      return [dx, dgamma, dbeta];
    },
  };
}

const isZero = (padding: Padding) => padding.every((side) => side === 0);

/** Puts `border()` [C] around an image, `pad` pixels wide. */
function bordered({ tf }: Toolbox, y: Tensor4D, pad: Padding, border: () => Tensor): Tensor4D {
  if (isZero(pad)) return y;
  const [, height, width] = y.shape;
  const outside = tf.sub(1, tf.pad4d(tf.ones([1, height, width, 1]), explicit(pad)));
  return tf.add(tf.pad4d(y, explicit(pad)), tf.mul(outside, border()));
}

/** In the order C,H,W, as PyTorch flattens. */
function flatten({ tf }: Toolbox, x: Tensor4D): Computed {
  const [batch, height, width, channels] = x.shape;
  const isPoint = height === 1 && width === 1;
  const value = tf.reshape(isPoint ? x : tf.transpose(x, [0, 3, 1, 2]), [batch, -1]);
  return {
    value,
    backward(dy) {
      if (isPoint) return [tf.reshape(dy, x.shape)];
      return [tf.transpose(tf.reshape(dy, [batch, channels, height, width]), [0, 2, 3, 1])];
    },
  };
}

/** x [N,I], weight [O,I], bias [O] → [N,O] */
function linear({ tf }: Toolbox, inputs: readonly Tensor[]): Computed {
  const [x, weight, bias] = inputs as [Tensor2D, Tensor2D, Tensor1D | undefined];
  const product = tf.matMul(x, weight, false, true);
  return {
    value: bias === undefined ? product : tf.add(product, bias),
    saved: [x],
    backward: (dy, wants) => [
      wants(0) ? tf.matMul(dy, weight) : undefined,
      wants(1) ? tf.matMul(dy, x, true, false) : undefined,
      bias !== undefined && wants(2) ? tf.sum(dy, 0) : undefined,
    ],
  };
}
