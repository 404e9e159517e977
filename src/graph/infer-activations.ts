/** The checkers of activation ops; see infer.ts. */
import {
  activation,
  alike,
  arity,
  check,
  expectWeight,
  finite,
  formatType,
  groupsDivide,
  image,
  kernelShape,
  padding,
  pair,
  type Types,
  weightShape,
  windowShape,
} from "./checks.js";
import { formatShape, sameShape } from "./tensor.js";
import type { OpOf, ValueType } from "./types.js";

export function inputType(op: OpOf<"input">): ValueType {
  check(op, op.shape.length === 3, "shape", "(channels,height,width)", formatShape(op.shape));
  const channels = op.shape[0] ?? 0;
  check(op, op.mean.length === channels, "mean", `${channels} values`, op.mean.length);
  check(op, op.std.length === channels, "std", `${channels} values`, op.std.length);
  for (const value of op.mean) finite(op, "mean", value);
  for (const value of op.std) {
    check(op, value > 0 && value < Infinity, "std", "positive values", value);
  }
  return activation(op.shape);
}

export function conv2dType(op: OpOf<"conv2d">, inputs: Types): ValueType {
  arity(op, inputs, 2, 3);
  const [channels, height, width] = image(op, inputs, 0);
  const [outChannels, perGroup, kernelH, kernelW] = kernelShape(op, inputs, 1);
  groupsDivide(op, op.groups, channels, outChannels);
  check(
    op,
    perGroup === channels / op.groups,
    "weight",
    `${channels / op.groups} input channels per group (input ${channels}, groups ${op.groups})`,
    perGroup,
  );
  if (inputs.length === 3) expectWeight(op, inputs, 2, [outChannels], "bias");
  const [h, w] = windowShape(op, [height, width], { ...op, kernel: [kernelH, kernelW] });
  return activation([outChannels, h, w]);
}

export function batchNormType(op: OpOf<"batchNorm">, inputs: Types): ValueType {
  arity(op, inputs, 5, 6);
  const [channels, height, width] = image(op, inputs, 0);
  for (const [position, name] of ["gamma", "beta", "runningMean", "runningVar"].entries()) {
    expectWeight(op, inputs, position + 1, [channels], name);
  }
  if (inputs.length === 6) expectWeight(op, inputs, 5, [], "counter");
  check(op, op.eps > 0 && op.eps < Infinity, "eps", "a positive number", op.eps);
  check(op, op.momentum >= 0 && op.momentum <= 1, "momentum", "0 to 1", op.momentum);
  const [top, bottom, left, right] = padding(op, op.pad, { crop: false });
  return activation([channels, height + top + bottom, width + left + right]);
}

export function poolType(op: OpOf<"maxPool" | "avgPool">, inputs: Types): ValueType {
  arity(op, inputs, 1, 1);
  const [channels, height, width] = image(op, inputs, 0);
  const [top, bottom, left, right] = padding(op, op.padding, { crop: false });
  const [kernelH, kernelW] = pair(op, "kernel", op.kernel);
  // As PyTorch: a window must never lie wholly in the padding.
  const most = [Math.floor(kernelH / 2), Math.floor(kernelW / 2)] as const;
  check(
    op,
    Math.max(top, bottom) <= most[0] && Math.max(left, right) <= most[1],
    "padding",
    `at most half the kernel ${kernelH}x${kernelW}`,
    formatShape(op.padding),
  );
  const [h, w] = windowShape(op, [height, width], { ...op, dilation: [1, 1] });
  return activation([channels, h, w]);
}

export function linearType(op: OpOf<"linear">, inputs: Types): ValueType {
  arity(op, inputs, 2, 3);
  const features = inputs[0]!;
  check(
    op,
    features.world === "activation" && features.shape.length === 1,
    "input",
    "a flattened activation",
    formatType(features),
  );
  const shape = weightShape(op, inputs, 1);
  const out = shape[0] ?? 0;
  check(
    op,
    shape.length === 2 && shape[1] === features.shape[0],
    "weight",
    `(outputs,${features.shape[0]})`,
    formatShape(shape),
  );
  if (inputs.length === 3) expectWeight(op, inputs, 2, [out], "bias");
  return activation([out]);
}

export function mulType(op: OpOf<"mul">, inputs: Types): ValueType {
  arity(op, inputs, 2, 2);
  const [a, b] = [inputs[0]!, inputs[1]!];
  const gate =
    a.world === "activation" &&
    b.world === "activation" &&
    a.shape.length === 3 &&
    sameShape(b.shape, [a.shape[0]!, 1, 1]);
  return gate ? a : alike(op, inputs);
}

export function concatType(op: OpOf<"concat">, inputs: Types): ValueType {
  arity(op, inputs, 2, Infinity);
  const first = inputs[0]!;
  const rest = first.shape.slice(1);
  for (const type of inputs) {
    check(
      op,
      type.world === first.world && type.shape.length > 0 && sameShape(type.shape.slice(1), rest),
      "input",
      `${first.world} (*${rest.map((extent) => `,${extent}`).join("")})`,
      formatType(type),
    );
  }
  const joined = inputs.reduce((sum, type) => sum + (type.shape[0] ?? 0), 0);
  return { world: first.world, shape: [joined, ...rest] };
}
