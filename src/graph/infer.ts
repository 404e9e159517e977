/**
 * One checker per op: it validates the attributes and the inputs' types and returns the type of the
 * result. Builder, JSON reader, verifier and engines all call `inferType`, so they cannot disagree.
 */
import { einsumExtents, parseEinsum } from "./einsum.js";
import { GraphError } from "./errors.js";
import { elementCount, formatShape, sameShape } from "./tensor.js";
import type {
  Fill,
  Initialiser,
  Op,
  OpKind,
  OpOf,
  Padding,
  Pair,
  ParamOp,
  ValueType,
} from "./types.js";

/** Largest number of elements of one tensor (8 GiB of float32): a larger one is a mistake or an attack. */
export const MAX_ELEMENTS = 2 ** 31;

type Types = readonly ValueType[];
type Shape = readonly number[];

/** The type of `op` applied to values of the given types. Throws GraphError, without a node's name. */
export function inferType(op: Op, inputs: Types): ValueType {
  const type = infer(op, inputs);
  for (const extent of type.shape) {
    if (!Number.isSafeInteger(extent) || extent < 1) {
      throw mismatch(op, "result", "extents of at least 1", formatShape(type.shape));
    }
  }
  if (elementCount(type.shape) > MAX_ELEMENTS) {
    throw mismatch(op, "result", `at most ${MAX_ELEMENTS} elements`, formatShape(type.shape));
  }
  return type;
}

function infer(op: Op, inputs: Types): ValueType {
  switch (op.kind) {
    case "input":
      arity(op, inputs, 0, 0);
      return inputType(op);
    case "param":
      arity(op, inputs, 0, 0);
      check(op, op.name !== "", "name", "a state-dict name", '""');
      check(op, isFloatOrCounter(op), "dtype", "f32, or a buffer of i64 that starts at 0", "i64");
      return weight(filled(op, op.shape, op.init));
    case "constant":
      arity(op, inputs, 0, 0);
      return weight(filled(op, op.shape, op.fill));
    case "conv2d":
      return conv2dType(op, inputs);
    case "batchNorm":
      return batchNormType(op, inputs);
    case "relu":
    case "silu":
    case "sigmoid":
      arity(op, inputs, 1, 1);
      return activation(
        inputs[0]!.world === "activation" ? inputs[0]!.shape : image(op, inputs, 0),
      );
    case "maxPool":
    case "avgPool":
      return poolType(op, inputs);
    case "globalAvgPool":
      arity(op, inputs, 1, 1);
      return activation([image(op, inputs, 0)[0], 1, 1]);
    case "flatten":
      arity(op, inputs, 1, 1);
      return activation([elementCount(image(op, inputs, 0))]);
    case "linear":
      return linearType(op, inputs);
    case "add":
      arity(op, inputs, 2, Infinity);
      return alike(op, inputs);
    case "mul":
      return mulType(op, inputs);
    case "concat":
      return concatType(op, inputs);
    case "sub":
      arity(op, inputs, 2, 2);
      weightShape(op, inputs, 0);
      return alike(op, inputs);
    case "inverseStd":
      arity(op, inputs, 1, 1);
      finite(op, "eps", op.eps);
      return weight(weightShape(op, inputs, 0));
    case "scale":
      arity(op, inputs, 2, 2);
      expectWeight(op, inputs, 1, weightShape(op, inputs, 0).slice(0, 1), "scale");
      return weight(weightShape(op, inputs, 0));
    case "einsum":
      return einsumType(op, inputs);
    case "embed":
      return embedType(op, inputs);
    case "composeKernels":
      return composeType(op, inputs);
    case "reshape":
      arity(op, inputs, 1, 1);
      check(
        op,
        elementCount(op.shape) === elementCount(weightShape(op, inputs, 0)),
        "shape",
        `the elements of ${formatShape(weightShape(op, inputs, 0))}`,
        formatShape(op.shape),
      );
      return weight(op.shape);
    case "select": {
      arity(op, inputs, 1, 1);
      const [rows = 0, ...rest] = weightShape(op, inputs, 0);
      check(
        op,
        Number.isInteger(op.index) && op.index >= 0 && op.index < rows,
        "index",
        `a row below ${rows}`,
        op.index,
      );
      return weight(rest);
    }
  }
}

/**
 * Output extent of a sliding window: floor((size + before + after - dilation*(kernel-1) - 1)/stride) + 1,
 * PyTorch's formula. Sizes in pixels.
 */
export function windowExtent(
  size: number,
  window: { kernel: number; stride: number; dilation: number; before: number; after: number },
): number {
  const { kernel, stride, dilation, before, after } = window;
  return Math.floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1;
}

// --- Activations

function inputType(op: OpOf<"input">): ValueType {
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

function conv2dType(op: OpOf<"conv2d">, inputs: Types): ValueType {
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

function batchNormType(op: OpOf<"batchNorm">, inputs: Types): ValueType {
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

function poolType(op: OpOf<"maxPool" | "avgPool">, inputs: Types): ValueType {
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

function linearType(op: OpOf<"linear">, inputs: Types): ValueType {
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

function mulType(op: OpOf<"mul">, inputs: Types): ValueType {
  arity(op, inputs, 2, 2);
  const [a, b] = [inputs[0]!, inputs[1]!];
  const gate =
    a.world === "activation" &&
    b.world === "activation" &&
    a.shape.length === 3 &&
    sameShape(b.shape, [a.shape[0]!, 1, 1]);
  return gate ? a : alike(op, inputs);
}

function concatType(op: OpOf<"concat">, inputs: Types): ValueType {
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

// --- Weights

function einsumType(op: OpOf<"einsum">, inputs: Types): ValueType {
  const einsum = parseEinsum(op.equation);
  if (einsum === undefined) {
    throw mismatch(op, "equation", 'a form like "oi,hw->oihw"', `"${op.equation}"`);
  }
  arity(op, inputs, einsum.operands.length, einsum.operands.length);
  const shapes = inputs.map((_, position) => weightShape(op, inputs, position));
  const result = einsumExtents(einsum, shapes);
  if ("conflict" in result) {
    throw mismatch(op, `equation ${op.equation}`, "operands that fit it", result.conflict);
  }
  return weight([...einsum.result].map((index) => result.extents.get(index) ?? 0));
}

function embedType(op: OpOf<"embed">, inputs: Types): ValueType {
  arity(op, inputs, 1, 1);
  const [out, perGroup, height, width] = kernelShape(op, inputs, 0);
  const [kernelH, kernelW] = pair(op, "kernel", op.kernel);
  const [dilationH, dilationW] = pair(op, "dilation", op.dilation);
  const [offsetH, offsetW] = op.offset;
  const fits = (offset: number, dilation: number, inner: number, outer: number) =>
    Number.isInteger(offset) && offset >= 0 && offset + dilation * (inner - 1) < outer;
  check(
    op,
    fits(offsetH, dilationH, height, kernelH) && fits(offsetW, dilationW, width, kernelW),
    "kernel",
    `room for ${height}x${width} at (${offsetH},${offsetW}) with dilation ${dilationH}x${dilationW}`,
    `${kernelH}x${kernelW}`,
  );
  const { from, to } = op.groups;
  positive(op, "groups.to", to);
  check(op, Number.isInteger(from / to), "groups.from", `a multiple of ${to}`, from);
  groupsDivide(op, from, perGroup * from, out);
  return weight([out, (perGroup * from) / to, kernelH, kernelW]);
}

function composeType(op: OpOf<"composeKernels">, inputs: Types): ValueType {
  arity(op, inputs, 2, 2);
  const [inner, perGroup, firstH, firstW] = kernelShape(op, inputs, 0);
  const [out, innerPerGroup, secondH, secondW] = kernelShape(op, inputs, 1);
  groupsDivide(op, op.groups, inner, out);
  check(
    op,
    innerPerGroup === inner / op.groups,
    "second kernel",
    `${inner / op.groups} input channels per group`,
    innerPerGroup,
  );
  return weight([out, perGroup, firstH + secondH - 1, firstW + secondW - 1]);
}

/** Integers count training steps: they start at 0, and nothing trains them. */
function isFloatOrCounter({ dtype, role, init }: ParamOp): boolean {
  return dtype === "f32" || (role === "buffer" && init.kind === "constant" && init.value === 0);
}

function filled(op: Op, shape: Shape, fill: Fill | Initialiser): Shape {
  const rank = shape.length;
  switch (fill.kind) {
    case "constant":
      finite(op, "value", fill.value);
      break;
    case "uniform":
      check(op, fill.bound >= 0 && fill.bound < Infinity, "bound", "0 or more", fill.bound);
      break;
    case "kaimingUniform":
      finite(op, "a", fill.a);
      check(op, rank >= 2, "kaimingUniform", "at least two axes", formatShape(shape));
      break;
    case "rows":
      for (const value of fill.values) finite(op, "rows", value);
      check(
        op,
        rank > 0 && fill.values.length === shape[0],
        "rows",
        `${shape[0]}`,
        fill.values.length,
      );
      break;
    case "identity":
      check(op, rank === 4, "identity", "a kernel of four axes", formatShape(shape));
      break;
    case "frequencyPrior":
      check(op, rank === 3, "frequencyPrior", "three axes", formatShape(shape));
      break;
  }
  return shape;
}

// --- What the checkers share

function windowShape(
  op: Op,
  size: Pair,
  window: { kernel: Pair; stride: Pair; dilation: Pair; padding: Padding },
): Pair {
  const [kernelH, kernelW] = pair(op, "kernel", window.kernel);
  const [strideH, strideW] = pair(op, "stride", window.stride);
  const [dilationH, dilationW] = pair(op, "dilation", window.dilation);
  const [top, bottom, left, right] = padding(op, window.padding, { crop: true });
  const vertical = {
    kernel: kernelH,
    stride: strideH,
    dilation: dilationH,
    before: top,
    after: bottom,
  };
  const horizontal = {
    kernel: kernelW,
    stride: strideW,
    dilation: dilationW,
    before: left,
    after: right,
  };
  const result: Pair = [windowExtent(size[0], vertical), windowExtent(size[1], horizontal)];
  const reach = `${dilationH * (kernelH - 1) + 1}x${dilationW * (kernelW - 1) + 1}`;
  check(
    op,
    result[0] >= 1 && result[1] >= 1,
    "input",
    `at least ${reach} pixels with its padding`,
    `${size[0] + top + bottom}x${size[1] + left + right}`,
  );
  return result;
}

function alike(op: Op, inputs: Types): ValueType {
  const first = inputs[0]!;
  for (const type of inputs) {
    check(
      op,
      type.world === first.world && sameShape(type.shape, first.shape),
      "inputs",
      formatType(first),
      formatType(type),
    );
  }
  return first;
}

function image(op: Op, inputs: Types, position: number): readonly [number, number, number] {
  const type = inputs[position]!;
  const [channels, height, width] = type.shape;
  if (
    type.world !== "activation" ||
    type.shape.length !== 3 ||
    channels === undefined ||
    height === undefined ||
    width === undefined
  ) {
    throw mismatch(op, "input", "an activation (C,H,W)", formatType(type));
  }
  return [channels, height, width];
}

function kernelShape(
  op: Op,
  inputs: Types,
  position: number,
): readonly [number, number, number, number] {
  const shape = weightShape(op, inputs, position);
  const [o, i, h, w] = shape;
  if (
    shape.length !== 4 ||
    o === undefined ||
    i === undefined ||
    h === undefined ||
    w === undefined
  ) {
    throw mismatch(op, "weight", "a kernel (O,I,H,W)", formatShape(shape));
  }
  return [o, i, h, w];
}

function weightShape(op: Op, inputs: Types, position: number): Shape {
  const type = inputs[position]!;
  check(op, type.world === "weight", `input ${position}`, "a weight", formatType(type));
  return type.shape;
}

function expectWeight(op: Op, inputs: Types, position: number, shape: Shape, what: string): void {
  const found = weightShape(op, inputs, position);
  check(op, sameShape(found, shape), what, formatShape(shape), formatShape(found));
}

function groupsDivide(op: Op, groups: number, channels: number, outChannels: number): void {
  positive(op, "groups", groups);
  check(
    op,
    channels % groups === 0 && outChannels % groups === 0,
    "groups",
    `a divisor of ${channels} input and ${outChannels} output channels`,
    groups,
  );
}

function pair(op: Op, what: string, value: Pair): Pair {
  for (const extent of value) positive(op, what, extent);
  return value;
}

function padding(op: Op, value: Padding, { crop }: { crop: boolean }): Padding {
  const valid = value.every((side) => Number.isSafeInteger(side) && (crop || side >= 0));
  check(op, valid, "padding", crop ? "whole numbers" : "whole numbers from 0", formatShape(value));
  return value;
}

function positive(op: Op, what: string, value: number): void {
  check(op, Number.isSafeInteger(value) && value >= 1, what, "a whole number from 1", value);
}

function finite(op: Op, what: string, value: number): void {
  check(op, Number.isFinite(value), what, "a finite number", value);
}

function arity(op: Op, inputs: Types, least: number, most: number): void {
  const range =
    least === most ? `${least}` : most === Infinity ? `at least ${least}` : `${least} to ${most}`;
  check(op, inputs.length >= least && inputs.length <= most, "inputs", range, inputs.length);
}

function check(
  op: Op,
  condition: boolean,
  what: string,
  expected: string,
  found: string | number,
): void {
  if (!condition) throw mismatch(op, what, expected, String(found));
}

function mismatch(
  op: { kind: OpKind },
  what: string,
  expected: string,
  found: string | number,
): GraphError {
  return new GraphError({ node: "", op: op.kind, what, expected, found: String(found) });
}

function activation(shape: Shape): ValueType {
  return { world: "activation", shape };
}

function weight(shape: Shape): ValueType {
  return { world: "weight", shape };
}

/** `activation (64,56,56)` */
export function formatType(type: ValueType): string {
  return `${type.world} ${formatShape(type.shape)}`;
}
