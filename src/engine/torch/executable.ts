/** A graph loaded into the addon: checks what is asked, and speaks the addon's language. */
import { types } from "node:util";

import { EXIT_CODES, RepkitError, usageError, type ErrorKind } from "../../errors.js";
import type { Graph, Images, StateSource } from "../../graph/index.js";
import {
  checkImages,
  checkLabels,
  checkNodes,
  checkNumber,
  checkObjective,
  namedTensors,
} from "../checks.js";
import type {
  Batch,
  BatchResult,
  Differentiation,
  Executable,
  ExecutableState,
  Inference,
  InferOptions,
  Labels,
  LoadOptions,
  Objective,
  StepOptions,
} from "../types.js";
import { lower } from "./lower.js";
import type { NativeExecutable, NativeObjective, NativeTensor, ProfileRow } from "./native.js";

export class TorchExecutable implements Executable {
  readonly #native: NativeExecutable;
  readonly #graph: Graph;
  readonly #options: LoadOptions;
  /** By the ids that they keep. */
  readonly #plans = new Map<string, { readonly index: number; readonly added: Promise<unknown> }>();
  #planCount = 0;

  constructor(native: NativeExecutable, graph: Graph, options: LoadOptions) {
    this.#native = native;
    this.#graph = graph;
    this.#options = options;
  }

  async infer(images: Images, { values = [] }: InferOptions = {}): Promise<Inference> {
    checkImages(this.#graph, images);
    checkNodes(this.#graph, values);
    const found = await this.#run(values, (plan) => this.#native.infer(plan, images, values));
    return { outputs: new Map(found.outputs), values: new Map(found.values) };
  }

  async evaluate({ images, labels }: Batch): Promise<BatchResult> {
    checkLabels(this.#graph, labels, checkImages(this.#graph, images));
    return this.#run([], (plan) => this.#native.evaluate(plan, images, nativeLabels(labels)));
  }

  async trainStep(batch: Batch, options: StepOptions): Promise<BatchResult> {
    const { images, labels } = batch;
    const { learningRate, update = true, gradientScale = 1 } = options;
    if (this.#options.training === undefined) {
      throw usageError("this executable was loaded without training options");
    }
    checkNumber("learningRate", learningRate);
    checkNumber("gradientScale", gradientScale);
    checkLabels(this.#graph, labels, checkImages(this.#graph, images));
    const target = nativeLabels(labels);
    return this.#run([], (plan) =>
      this.#native.trainStep(plan, images, target, learningRate, update, gradientScale),
    );
  }

  async differentiate(images: Images | undefined, objective: Objective): Promise<Differentiation> {
    const count = images === undefined ? undefined : checkImages(this.#graph, images);
    checkObjective(this.#graph, objective, count);
    const found = await this.#run([], (plan) =>
      this.#native.differentiate(plan, images, nativeObjective(objective)),
    );
    return {
      outputs: new Map(found.outputs),
      loss: found.loss,
      gradients: new Map(found.gradients),
      imageGradient: found.imageGradient,
      updates: new Map(found.updates),
    };
  }

  /**
   * Where the time goes, by op: of a training step at learning rate 0 where the executable trains, else
   * of an evaluation. On the CPU alone; a CUDA device works on its own time.
   */
  async profile({ images, labels }: Batch): Promise<readonly ProfileRow[]> {
    const { device = "cpu", training } = this.#options;
    if (device !== "cpu") throw usageError("profile: expected the device cpu");
    checkLabels(this.#graph, labels, checkImages(this.#graph, images));
    const target = nativeLabels(labels);
    return this.#run([], (plan) =>
      this.#native.profile(plan, images, target, training !== undefined),
    );
  }

  async state(): Promise<ExecutableState> {
    const found = await inKind(() => this.#native.state());
    return {
      state: new Map(found.state),
      momentum: new Map(found.momentum),
      ema: found.ema.length === 0 ? undefined : new Map(found.ema),
    };
  }

  async restore(values: Partial<Record<keyof ExecutableState, StateSource>>): Promise<void> {
    const { state, momentum, ema } = values;
    const read = (source: StateSource | undefined, what: string, isWhole = true) =>
      source && namedTensors(this.#graph, source, what, { isWhole });
    const all = read(state, "state");
    const velocities = read(momentum, "momentum", false);
    const averages = read(ema, "ema");
    await inKind(() => this.#native.restore(all, velocities, averages));
  }

  async dispose(): Promise<void> {
    await inKind(() => this.#native.dispose());
  }

  /** Queues a call at once, so that calls run in the order in which they were made. */
  #run<T>(keep: readonly number[], call: (plan: number) => Promise<T>): Promise<T> {
    return inKind(async () => {
      const { index, added } = this.#plan(keep);
      const [, result] = await Promise.all([added, call(index)]);
      return result;
    });
  }

  #plan(keep: readonly number[]) {
    const key = keep.toSorted((a, b) => a - b).join();
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    const index = this.#planCount++;
    const added = this.#native.addPlan(index, lower(this.#graph, keep));
    // One that could not be added may be tried again.
    added.catch(() => this.#plans.delete(key));
    const plan = { index, added };
    this.#plans.set(key, plan);
    return plan;
  }
}

function nativeLabels(labels: Labels): NativeTensor {
  if (!types.isInt32Array(labels)) return labels;
  return { shape: [labels.length], data: labels };
}

function nativeObjective(objective: Objective): NativeObjective {
  return "labels" in objective ? { labels: nativeLabels(objective.labels) } : objective;
}

/** Runs a call of the addon; its failures come out as RepkitErrors. */
export async function inKind<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!types.isNativeError(error) || error instanceof RepkitError) throw error;
    const { kind } = error as { kind?: unknown };
    const known = typeof kind === "string" && kind in EXIT_CODES ? (kind as ErrorKind) : "internal";
    throw new RepkitError(known, `torch engine: ${error.message}`, { cause: error });
  }
}
