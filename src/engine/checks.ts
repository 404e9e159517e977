/** What every engine asks of images and labels before it looks at them. */
import { types } from "node:util";

import { usageError } from "../errors.js";
import { elementCount, formatShape, sameShape, type Graph, type Images } from "../graph/index.js";
import type { Labels, Objective } from "./types.js";

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
  if (logits.length !== 1) throw usageError("labels: the graph's first output is no row of logits");
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
export function checkObjective(graph: Graph, objective: Objective, count: number): void {
  if ("labels" in objective) {
    checkLabels(graph, objective.labels, count);
  } else if ("outputGradient" in objective) {
    const { shape, data } = objective.outputGradient;
    const output = graph.nodes[graph.outputs[0]?.value ?? -1]?.type.shape ?? [];
    const expected = [count, ...output];
    if (!sameShape(shape, expected)) {
      throw usageError(
        `outputGradient: expected ${formatShape(expected)}, received ${formatShape(shape)}`,
      );
    }
    checkLength("outputGradient", shape, data.length);
  } else {
    const names = graph.outputs.map(({ name }) => name);
    if (!names.includes(objective.output)) {
      throw usageError(
        `output: expected one of ${names.join(", ")}, received "${objective.output}"`,
      );
    }
  }
}

function checkLength(what: string, shape: readonly number[], length: number): void {
  const expected = elementCount(shape);
  if (length === expected) return;
  throw usageError(`${what}: ${formatShape(shape)} needs ${expected} values, received ${length}`);
}
