/** A graph loaded into the engine's thread: checks what is asked, and sends it there. */
import { RepkitError, usageError } from "../../errors.js";
import type { Graph, Images, State, StateSource } from "../../graph/index.js";
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
  Objective,
  StepOptions,
} from "../types.js";
import type { Host } from "./host.js";
import {
  type CallName,
  type Calls,
  copied,
  type Memory,
  sendableImages,
  sendableLabels,
} from "./protocol.js";

export class TfjsExecutable implements Executable {
  readonly #host: Host;
  readonly #index: number;
  readonly #graph: Graph;
  readonly #isTrainable: boolean;
  #isDisposed = false;

  constructor(host: Host, index: number, graph: Graph, options: { readonly isTrainable: boolean }) {
    this.#host = host;
    this.#index = index;
    this.#graph = graph;
    this.#isTrainable = options.isTrainable;
  }

  async infer(images: Images, { values = [] }: InferOptions = {}): Promise<Inference> {
    checkImages(this.#graph, images);
    checkNodes(this.#graph, values);
    return this.#call("infer", sendableImages(images), [...values]);
  }

  async evaluate(batch: Batch): Promise<BatchResult> {
    return this.#call("evaluate", this.#checked(batch));
  }

  async trainStep(batch: Batch, options: StepOptions): Promise<BatchResult> {
    const { learningRate, update = true, gradientScale = 1 } = options;
    if (!this.#isTrainable) throw usageError("this executable was loaded without training options");
    checkNumber("learningRate", learningRate);
    checkNumber("gradientScale", gradientScale);
    return this.#call("trainStep", this.#checked(batch), { learningRate, update, gradientScale });
  }

  async differentiate(images: Images | undefined, objective: Objective): Promise<Differentiation> {
    const count = images === undefined ? undefined : checkImages(this.#graph, images);
    checkObjective(this.#graph, objective, count);
    return this.#call("differentiate", images && sendableImages(images), sendable(objective));
  }

  async state(): Promise<ExecutableState> {
    return this.#call("state");
  }

  async restore(values: Partial<Record<keyof ExecutableState, StateSource>>): Promise<void> {
    const { state, momentum, ema } = values;
    await this.#call("restore", {
      ...(state && { state: sendableState(this.#graph, state, "state") }),
      ...(momentum && { momentum: sendableState(this.#graph, momentum, "momentum", false) }),
      ...(ema && { ema: sendableState(this.#graph, ema, "ema") }),
    });
  }

  /** What TensorFlow.js holds now, for this and every other executable of the engine. */
  async memory(): Promise<Memory> {
    return this.#call("memory");
  }

  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    const disposed = this.#call("dispose");
    this.#isDisposed = true;
    await disposed;
  }

  #call<K extends CallName>(call: K, ...args: Parameters<Calls[K]>) {
    if (this.#isDisposed) throw new RepkitError("internal", "the executable is disposed of");
    return this.#host.call(this.#index, call, ...args);
  }

  #checked({ images, labels }: Batch): Batch {
    checkLabels(this.#graph, labels, checkImages(this.#graph, images));
    return { images: sendableImages(images), labels: sendableLabels(labels) };
  }
}

function sendable(objective: Objective): Objective {
  if ("labels" in objective) return { labels: sendableLabels(objective.labels) };
  if ("output" in objective) return objective;
  return { outputGradient: copied(objective.outputGradient) };
}

/** A copy of what the source has for the graph; checked. */
export function sendableState(
  graph: Graph,
  source: StateSource,
  what: string,
  isWhole = true,
): State {
  return new Map(
    namedTensors(graph, source, what, { isWhole }).map(([name, tensor]) => [name, copied(tensor)]),
  );
}
