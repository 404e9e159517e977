/** The checkers of weight ops; see infer.ts. */
import {
  arity,
  check,
  finite,
  groupsDivide,
  kernelShape,
  mismatch,
  pair,
  positive,
  type Shape,
  type Types,
  weight,
  weightShape,
} from "./checks.js";
import { einsumExtents, parseEinsum } from "./einsum.js";
import { formatShape } from "./tensor.js";
import type { Fill, Initialiser, Op, OpOf, ParamOp, ValueType } from "./types.js";

export function einsumType(op: OpOf<"einsum">, inputs: Types): ValueType {
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

export function embedType(op: OpOf<"embed">, inputs: Types): ValueType {
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

export function composeType(op: OpOf<"composeKernels">, inputs: Types): ValueType {
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
export function isFloatOrCounter({ dtype, role, init }: ParamOp): boolean {
  return dtype === "f32" || (role === "buffer" && init.kind === "constant" && init.value === 0);
}

export function filled(op: Op, shape: Shape, fill: Fill | Initialiser): Shape {
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
