/** Weight expressions, in PyTorch's shapes (kernels O,I,H,W). */
import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";

import { RepkitError } from "../../errors.js";
import { constantTensor, toFloat32, type Node, type OpOf } from "../../graph/index.js";
import type { ConvWindow, Tf } from "./backend.js";
import { einsum, einsumGradient, einsumTerms } from "./einsum.js";
import { spread, taps } from "./layers.js";
import type { Computed, Toolbox } from "./ops.js";

export function computeWeight(tools: Toolbox, node: Node, inputs: readonly Tensor[]): Computed {
  const { tf } = tools;
  const { op } = node;
  const [x, y] = inputs as [Tensor, Tensor];
  // eslint-disable-next-line @typescript-eslint/switch-exhaustiveness-check -- activations are computed elsewhere
  switch (op.kind) {
    case "constant": {
      const { shape, data } = toFloat32(constantTensor(op.shape, op.fill));
      return { value: tf.tensor(data, [...shape]) };
    }
    case "detach":
      return { value: tf.clone(x) };
    case "add":
      return { value: sumOf(tools, inputs), backward: (dy) => inputs.map(() => tf.clone(dy)) };
    case "sub":
      return { value: tf.sub(x, y), backward: (dy) => [tf.clone(dy), tf.neg(dy)] };
    case "mul":
      return {
        value: tf.mul(x, y),
        saved: [x, y],
        backward: (dy) => [tf.mul(dy, y), tf.mul(dy, x)],
      };
    case "scale":
      return scale(tools, x, y);
    case "inverseStd": {
      const value = tf.rsqrt(tf.add(x, op.eps));
      // d/dx (x + eps)^(-1/2) = -1/2 (x + eps)^(-3/2)
      const backward = (dy: Tensor) => [tf.mul(tf.mul(dy, -0.5), tf.mul(value, tf.square(value)))];
      return { value, saved: [value], backward };
    }
    case "reshape":
      return {
        value: tf.reshape(x, [...op.shape]),
        backward: (dy) => [tf.reshape(dy, x.shape)],
      };
    case "select": {
      const [rows = 1, ...rest] = x.shape;
      const around = rest.map(() => [0, 0] as [number, number]);
      return {
        value: tf.reshape(tf.slice(x, op.index, 1), rest),
        backward: (dy) => [
          tf.pad(tf.reshape(dy, [1, ...rest]), [[op.index, rows - 1 - op.index], ...around]),
        ],
      };
    }
    case "concat": {
      const extents = inputs.map(({ shape }) => shape[0]);
      return { value: tf.concat([...inputs], 0), backward: (dy) => tf.split(dy, extents, 0) };
    }
    case "embed":
      return embed(tools, x as Tensor4D, op);
    case "einsum": {
      const terms = einsumTerms(op.equation);
      return {
        value: einsum(tf, terms, inputs),
        saved: inputs,
        backward: (dy, wants) =>
          inputs.map((_, position) =>
            wants(position)
              ? einsumGradient(tf, terms, { values: inputs, dy, position })
              : undefined,
          ),
      };
    }
    case "composeKernels":
      return compose(tools, x as Tensor4D, y as Tensor4D, op);
    default:
      throw new RepkitError("internal", `no weight expression: ${op.kind}`);
  }
}

export function sumOf({ tf }: Toolbox, [first, ...rest]: readonly Tensor[]): Tensor {
  return rest.reduce((sum, term) => tf.add(sum, term), first!);
}

/** w[o,...] * s[o] */
function scale({ tf }: Toolbox, w: Tensor, s: Tensor): Computed {
  const column = [s.size, ...w.shape.slice(1).map(() => 1)];
  const rest = w.shape.slice(1).map((_, axis) => axis + 1);
  return {
    value: tf.mul(w, tf.reshape(s, column)),
    saved: [w, s],
    backward: (dy, wants) => [
      wants(0) ? tf.mul(dy, tf.reshape(s, column)) : undefined,
      wants(1) ? tf.sum(tf.mul(dy, w), rest) : undefined,
    ],
  };
}

/** See the graph's `embed`: dilated, placed at an offset, and spread over fewer groups. */
function embed({ tf }: Toolbox, w: Tensor4D, op: OpOf<"embed">): Computed {
  const [out, perGroup] = w.shape;
  const wide = tf.transpose(spread(tf, tf.transpose(w, [2, 3, 1, 0]), op.dilation), [3, 2, 0, 1]);
  const [, , height, width] = wide.shape;
  const [top, left] = op.offset;
  const [kernelH, kernelW] = op.kernel;
  const padded = tf.pad(wide, [
    [0, 0],
    [0, 0],
    [top, kernelH - top - height],
    [left, kernelW - left - width],
  ]);
  const merged = op.groups.from / op.groups.to;
  const own = merged === 1 ? undefined : ownInputs(tf, { out, perGroup, merged, op });
  return {
    value: own === undefined ? padded : tf.mul(tf.tile(padded, [1, merged, 1, 1]), own),
    saved: own === undefined ? [] : [own],
    backward(dy) {
      const narrow = (all: Tensor) =>
        tf.sum(tf.reshape(all, [out, merged, perGroup, kernelH, kernelW]), 1);
      const rows = own === undefined ? dy : narrow(tf.mul(dy, own));
      const inside = tf.slice(rows, [0, 0, top, left], wide.shape) as Tensor4D;
      const taken = taps(tf, tf.transpose(inside, [2, 3, 1, 0]), op.dilation);
      return [tf.transpose(taken, [3, 2, 0, 1])];
    },
  };
}

/** 1 where row o sees an input of its own group, else 0: [O, merged * I/g, 1, 1]. */
function ownInputs(
  tf: Tf,
  {
    out,
    perGroup,
    merged,
    op,
  }: { out: number; perGroup: number; merged: number; op: OpOf<"embed"> },
): Tensor4D {
  const rows = out / op.groups.from;
  const mask = new Float32Array(out * merged * perGroup);
  for (let o = 0; o < out; o++) {
    const start = (o * merged + (Math.floor(o / rows) % merged)) * perGroup;
    mask.fill(1, start, start + perGroup);
  }
  return tf.tensor4d(mask, [out, merged * perGroup, 1, 1]);
}

/**
 * The kernel of `second` after `first`, as a convolution whose images are the input channels of
 * `first`: [I/g,h,w,T] with the turned `second` [H,W,T/g,O], padded so that all overlaps count.
 */
function compose(
  { tf, layers }: Toolbox,
  first: Tensor4D,
  second: Tensor4D,
  { groups, correlate }: OpOf<"composeKernels">,
): Computed {
  const [, , height, width] = second.shape;
  const [down, across] = [height - 1, width - 1];
  const window: ConvWindow = {
    ...{ kernel: [height, width], stride: [1, 1], dilation: [1, 1], groups },
    padding: [down, down, across, across],
  };
  const turned = (kernel: Tensor4D) => (correlate ? kernel : tf.reverse(kernel, [0, 1]));
  const image = tf.transpose(first, [1, 2, 3, 0]);
  const kernel = turned(tf.transpose(second, [2, 3, 1, 0]));
  const value = tf.transpose(layers.conv2d(image, kernel, window), [3, 0, 1, 2]);
  return {
    value,
    saved: [image, kernel],
    backward(dy, wants) {
      const dImage = tf.transpose(dy as Tensor4D, [1, 2, 3, 0]);
      const ofFirst = () =>
        tf.transpose(layers.conv2dGradX(dImage, kernel, image.shape, window), [3, 0, 1, 2]);
      const ofSecond = () =>
        tf.transpose(
          turned(layers.conv2dGradKernel(image, dImage, kernel.shape, window)),
          [3, 2, 0, 1],
        );
      return [wants(0) ? ofFirst() : undefined, wants(1) ? ofSecond() : undefined];
    },
  };
}
