// Small graphs, and what goes wrong with them.

import { RepkitError } from "../../src/errors.js";
import {
  type Graph,
  GraphBuilder,
  GraphError,
  interpret,
  type Images,
  type Interpretation,
  type Mismatch,
  type Scope,
  type State,
  type Tensor,
  tensor64,
  type Value,
} from "../../src/graph/index.js";

/** The graph that `build` makes of an empty root scope; a single value becomes the output `y`. */
export function graphOf(build: (scope: Scope) => Value | Record<string, Value>): Graph {
  const builder = new GraphBuilder();
  const result = build(builder.root());
  return builder.build(isValue(result) ? { y: result } : result);
}

function isValue(result: Value | Record<string, Value>): result is Value {
  return "op" in result && "inputs" in result;
}

/** A parameter of a given shape whose initialiser does not matter. */
export function weight(scope: Scope, name: string, shape: readonly number[]): Value {
  return scope.param(name, shape, { init: { kind: "constant", value: 0 }, decay: "kernel" });
}

/** Runs a graph of one output `y`. The state is given as `name: [shape, values]`. */
export function run(
  graph: Graph,
  options: {
    state?: Readonly<Record<string, readonly [readonly number[], ArrayLike<number>]>>;
    images?: Images;
    mode?: "infer" | "train";
  } = {},
): { y: Tensor<Float64Array>; updates: State } {
  const state = stateOf(options.state ?? {});
  const result = interpret(graph, state, options.images, { mode: options.mode ?? "infer" });
  return { y: outputOf(result), updates: result.updates };
}

export function stateOf(
  entries: Readonly<Record<string, readonly [readonly number[], ArrayLike<number>]>>,
): State {
  return new Map(
    Object.entries(entries).map(([name, [shape, values]]) => [name, tensor64(shape, values)]),
  );
}

export function outputOf(result: Interpretation, name = "y"): Tensor<Float64Array> {
  const value = result.outputs.get(name);
  if (value === undefined) throw new Error(`no output ${name}`);
  return value;
}

/** What a graph operation objects to. */
export function mismatchOf(operation: () => unknown): Mismatch {
  const error = thrownBy(operation);
  if (!(error instanceof GraphError)) throw new Error("expected a GraphError", { cause: error });
  return error.mismatch;
}

/** The RepkitError of an operation: its kind and its message. */
export function errorOf(operation: () => unknown): { kind: string; message: string } {
  const error = thrownBy(operation);
  if (!(error instanceof RepkitError)) throw new Error("expected a RepkitError", { cause: error });
  const { kind, message } = error;
  return { kind, message };
}

function thrownBy(operation: () => unknown): unknown {
  try {
    operation();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error, but there was none");
}
