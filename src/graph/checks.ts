/** What the checkers of ops share: each looks at one property and throws GraphError where it is wrong. */
import { GraphError } from "./errors.js";
import { formatShape, sameShape } from "./tensor.js";
import type { Op, OpKind, Padding, Pair, ValueType } from "./types.js";

export type Types = readonly ValueType[];
export type Shape = readonly number[];

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

export function windowShape(
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

export function alike(op: Op, inputs: Types): ValueType {
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

export function image(op: Op, inputs: Types, position: number): readonly [number, number, number] {
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

export function kernelShape(
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

export function weightShape(op: Op, inputs: Types, position: number): Shape {
  const type = inputs[position]!;
  check(op, type.world === "weight", `input ${position}`, "a weight", formatType(type));
  return type.shape;
}

export function expectWeight(
  op: Op,
  inputs: Types,
  position: number,
  shape: Shape,
  what: string,
): void {
  const found = weightShape(op, inputs, position);
  check(op, sameShape(found, shape), what, formatShape(shape), formatShape(found));
}

export function groupsDivide(op: Op, groups: number, channels: number, outChannels: number): void {
  positive(op, "groups", groups);
  check(
    op,
    channels % groups === 0 && outChannels % groups === 0,
    "groups",
    `a divisor of ${channels} input and ${outChannels} output channels`,
    groups,
  );
}

export function pair(op: Op, what: string, value: Pair): Pair {
  for (const extent of value) positive(op, what, extent);
  return value;
}

export function padding(op: Op, value: Padding, { crop }: { crop: boolean }): Padding {
  const valid = value.every((side) => Number.isSafeInteger(side) && (crop || side >= 0));
  check(op, valid, "padding", crop ? "whole numbers" : "whole numbers from 0", formatShape(value));
  return value;
}

export function positive(op: Op, what: string, value: number): void {
  check(op, Number.isSafeInteger(value) && value >= 1, what, "a whole number from 1", value);
}

export function finite(op: Op, what: string, value: number): void {
  check(op, Number.isFinite(value), what, "a finite number", value);
}

export function arity(op: Op, inputs: Types, least: number, most: number): void {
  const range =
    least === most ? `${least}` : most === Infinity ? `at least ${least}` : `${least} to ${most}`;
  check(op, inputs.length >= least && inputs.length <= most, "inputs", range, inputs.length);
}

export function check(
  op: Op,
  condition: boolean,
  what: string,
  expected: string,
  found: string | number,
): void {
  if (!condition) throw mismatch(op, what, expected, String(found));
}

export function mismatch(
  op: { kind: OpKind },
  what: string,
  expected: string,
  found: string | number,
): GraphError {
  return new GraphError({ node: "", op: op.kind, what, expected, found: String(found) });
}

export function activation(shape: Shape): ValueType {
  return { world: "activation", shape };
}

export function weight(shape: Shape): ValueType {
  return { world: "weight", shape };
}

/** `activation (64,56,56)` */
export function formatType(type: ValueType): string {
  return `${type.world} ${formatShape(type.shape)}`;
}
