/** Runs two forms of a network on an engine: how far their outputs are apart, and how long each takes. */
import { types } from "node:util";

import type { Engine, LoadOptions } from "../engine/types.js";
import { type Images, type Tensor, toFloat64 } from "../graph/index.js";
import type { Form, Forms } from "./forms.js";

export interface CompareOptions {
  readonly engine: Engine;
  readonly load: LoadOptions;
  /** Runs of each form that are timed, after one that is not; as many as fit into `seconds`. */
  readonly runs: number;
  readonly seconds: number;
}

export interface Comparison {
  readonly sumOfSquares: number;
  readonly largestDifference: number;
  /** The largest absolute output of the training structure. */
  readonly largestValue: number;
  /** Milliseconds for the batch; medians. */
  readonly trainMs: number;
  readonly deployMs: number;
}

export async function compareForms(
  { train, deploy }: Forms,
  images: Images,
  options: CompareOptions,
): Promise<Comparison> {
  const before = await run(train, images, options);
  const after = await run(deploy, images, options);
  return {
    ...distance(before.output, after.output),
    ...{ trainMs: before.milliseconds, deployMs: after.milliseconds },
  };
}

interface Run {
  readonly output: Tensor;
  readonly milliseconds: number;
}

async function run(form: Form, images: Images, options: CompareOptions): Promise<Run> {
  const { engine, load, runs, seconds } = options;
  const executable = await engine.load(form.graph, form.state, load);
  try {
    const { outputs } = await executable.infer(images);
    const [output] = outputs.values();
    const times: number[] = [];
    const end = performance.now() + seconds * 1000;
    do {
      const started = performance.now();
      await executable.infer(images);
      times.push(performance.now() - started);
    } while (times.length < runs && performance.now() < end);
    return { output: output!, milliseconds: median(times) };
  } finally {
    await executable.dispose();
  }
}

/** A difference that is no number counts as infinite: it must never pass for a small one. */
export function distance(before: Tensor, after: Tensor) {
  const [a, b] = [numbers(before), numbers(after)];
  let sumOfSquares = 0;
  let largestDifference = 0;
  let largestValue = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    const own = Number.isNaN(difference) ? Infinity : difference;
    sumOfSquares += own ** 2;
    largestDifference = Math.max(largestDifference, own);
    largestValue = Math.max(largestValue, Math.abs(a[i]!));
  }
  return { sumOfSquares, largestDifference, largestValue };
}

function numbers(tensor: Tensor): Float32Array | Float64Array {
  return types.isFloat32Array(tensor.data) ? tensor.data : toFloat64(tensor).data;
}

/** Of an even number of values the lower one of the middle two. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1] ?? NaN;
}
