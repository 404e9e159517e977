/**
 * One checker per op: it validates the attributes and the inputs' types and returns the type of the
 * result. Builder, JSON reader, verifier and engines all call `inferType`, so they cannot disagree.
 */
import {
  activation,
  alike,
  arity,
  check,
  expectWeight,
  finite,
  image,
  mismatch,
  type Types,
  weight,
  weightShape,
} from "./checks.js";
import {
  batchNormType,
  concatType,
  conv2dType,
  inputType,
  linearType,
  mulType,
  poolType,
} from "./infer-activations.js";
import { composeType, einsumType, embedType, filled, isFloatOrCounter } from "./infer-weights.js";
import { elementCount, formatShape } from "./tensor.js";
import type { Op, ValueType } from "./types.js";

/** Largest number of elements of one tensor (8 GiB of float32): a larger one is a mistake or an attack. */
export const MAX_ELEMENTS = 2 ** 31;

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
    case "detach":
      arity(op, inputs, 1, 1);
      return weight(weightShape(op, inputs, 0));
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
