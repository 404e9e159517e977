/** Ops of TensorFlow by name, run on tfjs-node's backend. Activations are N,H,W,C, kernels H,W,I,O. */
import type { Tensor, Tensor4D, TensorInfo } from "@tensorflow/tfjs-core";

import type { Pair, Padding } from "../../../graph/index.js";
import type { Tf } from "../backend.js";

/** Of tfjs-node's addon. */
export interface TfjsBinding {
  readonly TF_Version: string;
  readonly TF_FLOAT: number;
  readonly TF_ATTR_STRING: number;
  readonly TF_ATTR_INT: number;
  readonly TF_ATTR_FLOAT: number;
  readonly TF_ATTR_BOOL: number;
  readonly TF_ATTR_TYPE: number;
  isUsingGpuDevice(): boolean;
}

export interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

/** tfjs-node's own, as far as it is needed. */
export interface NodeBackend {
  readonly binding: TfjsBinding;
  executeSingleOutput(
    op: string,
    attributes: readonly Attribute[],
    inputs: readonly TensorInfo[],
  ): Tensor;
  executeMultipleOutputs(
    op: string,
    attributes: readonly Attribute[],
    inputs: readonly TensorInfo[],
    outputs: number,
  ): Tensor[];
}

/** Attributes of an op, by what TensorFlow calls their types. */
export class Attributes {
  readonly #binding: TfjsBinding;

  constructor(binding: TfjsBinding) {
    this.#binding = binding;
  }

  /** float32, of a type variable. */
  float32(name: string): Attribute {
    return { name, type: this.#binding.TF_ATTR_TYPE, value: this.#binding.TF_FLOAT };
  }

  int(name: string, value: number | readonly number[]): Attribute {
    return { name, type: this.#binding.TF_ATTR_INT, value };
  }

  float(name: string, value: number): Attribute {
    return { name, type: this.#binding.TF_ATTR_FLOAT, value };
  }

  bool(name: string, value: boolean): Attribute {
    return { name, type: this.#binding.TF_ATTR_BOOL, value };
  }

  string(name: string, value: string): Attribute {
    return { name, type: this.#binding.TF_ATTR_STRING, value };
  }

  /** [1, vertical, horizontal, 1] */
  pair(name: string, [vertical, horizontal]: Pair): Attribute {
    return this.int(name, [1, vertical, horizontal, 1]);
  }

  readonly nhwc = () => this.string("data_format", "NHWC");

  padding([top, bottom, left, right]: Padding): readonly Attribute[] {
    if (top + bottom + left + right === 0) return [this.string("padding", "VALID")];
    return [
      this.string("padding", "EXPLICIT"),
      this.int("explicit_paddings", [0, 0, top, bottom, left, right, 0, 0]),
    ];
  }
}

/** A list of sizes, as ops take it. */
export function sizes(tf: Tf, values: readonly number[]): Tensor {
  return tf.tensor1d([...values], "int32");
}

/** Zeros around height and width. */
export function zeroPad(tf: Tf, x: Tensor4D, [top, bottom, left, right]: Padding): Tensor4D {
  if (top + bottom + left + right === 0) return x;
  return tf.pad(x, [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ]);
}
