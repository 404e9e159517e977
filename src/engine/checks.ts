/** What every engine asks of images and labels before it looks at them. */
import { types } from "node:util";

import { invalidArgument, usageError } from "../errors.js";
import {
  elementCount,
  formatShape,
  parametersOf,
  sameShape,
  type Graph,
  type Images,
  type StateSource,
  type Tensor,
} from "../graph/index.js";
import type { Labels, LoadOptions, Objective } from "./types.js";

/** Throws a usage error where the images are not what the graph's input expects. Returns their number. */
export function checkImages(graph: Graph, images: Images): number {
  const input = graph.nodes.find(({ op }) => op.kind === "input")?.op;
  if (input?.kind !== "input") throw usageError("this graph takes no images");
  const [channels = 0, height = 0, width = 0] = input.shape;
  const { shape, data } = images;
  const [count = 0] = shape;
  const sample = types.isUint8Array(data) ? [height, width, channels] : input.shape;
  if (count < 1 || !sameShape(shape, [count, ...sample])) {
    const expected = `(N,${sample.join(",")})`;
    throw usageError(`images: expected ${expected} with N from 1, received ${formatShape(shape)}`);
  }
  checkLength("images", shape, data.length);
  return count;
}

/** Throws a usage error where there is not one label per image, each a class of the graph's. */
export function checkLabels(graph: Graph, labels: Labels, count: number): void {
  const logits = graph.nodes[graph.outputs[0]?.value ?? -1]?.type.shape ?? [];
  const [classes = 0] = logits;
  const isLogits = ({ value }: Graph["outputs"][number]) => {
    const { world, shape } = graph.nodes[value]!.type;
    return world === "weight" || (shape.length === 1 && shape[0] === classes);
  };
  if (logits.length !== 1 || !graph.outputs.every(isLogits)) {
    throw usageError("labels: expected a graph whose outputs are rows of logits, of equal length");
  }
  if (!types.isInt32Array(labels)) {
    const { shape, data } = labels;
    if (!sameShape(shape, [count, classes])) {
      const expected = formatShape([count, classes]);
      throw usageError(`labels: expected ${expected}, received ${formatShape(shape)}`);
    }
    checkLength("labels", shape, data.length);
    return;
  }
  if (labels.length !== count) {
    throw usageError(`labels: expected one per image (${count}), received ${labels.length}`);
  }
  const stranger = labels.find((label) => label < 0 || label >= classes);
  if (stranger === undefined) return;
  throw usageError(`labels: expected classes from 0 to ${classes - 1}, received ${stranger}`);
}

/** Throws a usage error where the objective is not of this graph and this number of images. */
export function checkObjective(
  graph: Graph,
  objective: Objective,
  count: number | undefined,
): void {
  if ("output" in objective) {
    const outputs = graph.outputs.filter(({ value }) => isScalarWeight(graph, value));
    if (outputs.some(({ name }) => name === objective.output)) return;
    const names = outputs.map(({ name }) => name).join(", ");
    const expected = names === "" ? "a graph with a scalar weight output" : `one of ${names}`;
    throw usageError(`output: expected ${expected}, received "${objective.output}"`);
  }
  if (count === undefined) throw usageError("images: this objective needs a batch of them");
  if ("labels" in objective) {
    checkLabels(graph, objective.labels, count);
  } else {
    const { shape, data } = objective.outputGradient;
    const output = graph.nodes[graph.outputs[0]?.value ?? -1]?.type.shape ?? [];
    const expected = [count, ...output];
    if (!sameShape(shape, expected)) {
      throw usageError(
        `outputGradient: expected ${formatShape(expected)}, received ${formatShape(shape)}`,
      );
    }
    checkLength("outputGradient", shape, data.length);
  }
}

/** Throws a usage error where a number is not finite or out of its range. */
export function checkNumber(
  name: string,
  value: number | undefined,
  { from = -Infinity, to = Infinity }: { from?: number; to?: number } = {},
): void {
  if (value === undefined || (Number.isFinite(value) && value >= from && value <= to)) return;
  const range =
    from === -Infinity ? "a number" : `a number from ${from}${to === Infinity ? "" : ` to ${to}`}`;
  throw invalidArgument(name, range, value);
}

/** Throws a usage error where an option of `load` is out of its range. */
export function checkLoadOptions({ threads, training = {} }: LoadOptions): void {
  checkNumber("threads", threads, { from: 1 });
  checkNumber("momentum", training.momentum, { from: 0 });
  checkNumber("labelSmoothing", training.labelSmoothing, { from: 0, to: 1 });
  checkNumber("auxiliaryWeight", training.auxiliaryWeight);
  checkNumber("penaltyWeight", training.penaltyWeight);
  checkNumber("clipNorm", training.clipNorm, { from: 0 });
  checkNumber("emaDecay", training.emaDecay, { from: 0, to: 1 });
}

/** Throws a usage error where one of the ids is no node's. */
export function checkNodes(graph: Graph, ids: readonly number[]): void {
  const stranger = ids.find((id) => graph.nodes[id] === undefined);
  if (stranger === undefined) return;
  throw usageError(`values: expected ids below ${graph.nodes.length}, received ${stranger}`);
}

/**
 * The tensors that a source has for the graph's parameters, in state-dict order. Throws a usage error
 * for a misshapen one and, where the state must be whole, for a missing one.
 */
export function namedTensors(
  graph: Graph,
  source: StateSource,
  what: string,
  { isWhole }: { readonly isWhole: boolean },
): (readonly [name: string, tensor: Tensor])[] {
  const found: [string, Tensor][] = [];
  for (const { name, shape } of parametersOf(graph)) {
    const tensor = source.get(name);
    if (tensor === undefined) {
      if (isWhole) throw usageError(`${what}: no tensor "${name}"`);
      continue;
    }
    if (!sameShape(tensor.shape, shape) || tensor.data.length !== elementCount(shape)) {
      const received = formatShape(tensor.shape);
      throw usageError(`${what}: "${name}" should be ${formatShape(shape)}, received ${received}`);
    }
    found.push([name, tensor]);
  }
  return found;
}

function isScalarWeight(graph: Graph, value: number): boolean {
  const type = graph.nodes[value]?.type;
  return type?.world === "weight" && type.shape.length === 0;
}

function checkLength(what: string, shape: readonly number[], length: number): void {
  const expected = elementCount(shape);
  if (length === expected) return;
  throw usageError(`${what}: ${formatShape(shape)} needs ${expected} values, received ${length}`);
}
