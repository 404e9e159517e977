/**
 * One pass over a graph: forwards, and back. Values are freed as soon as nothing reads them, gradients
 * as soon as they have been passed on; tfjs-core's tape would hold all of both until the end, which is
 * more than WebAssembly's memory has.
 */
import type { Tensor } from "@tensorflow/tfjs-core";

import { RepkitError } from "../../errors.js";
import type { Node } from "../../graph/index.js";
import { computeActivation } from "./activations.js";
import type { Backward, Computed, Toolbox } from "./ops.js";
import type { Plan } from "./plan.js";
import { computeWeight } from "./weights.js";

export interface PassOptions {
  readonly training: boolean;
  /** Nodes whose gradient is wanted, or that lead to one; none in evaluation. */
  readonly differentiated: ReadonlySet<number>;
}

interface Recorded {
  readonly node: Node;
  readonly backward: Backward;
  readonly saved: readonly Tensor[];
}

export class Pass {
  readonly #tools: Toolbox;
  readonly #plan: Plan;
  readonly #options: PassOptions;
  /** By node id. Parameters belong to the caller and are never disposed of here. */
  readonly #values: Map<number, Tensor>;
  readonly #owned = new Set<number>();
  readonly #recorded: Recorded[] = [];
  /** How many recorded nodes still read a value on the way back. */
  readonly #readers = new Map<Tensor, number>();
  readonly #running = new Map<number, Tensor>();

  constructor(
    tools: Toolbox,
    plan: Plan,
    parameters: ReadonlyMap<number, Tensor>,
    options: PassOptions,
  ) {
    this.#tools = tools;
    this.#plan = plan;
    this.#options = options;
    this.#values = new Map(parameters);
  }

  /** Running statistics after this pass, by the id of their parameter. */
  get running(): ReadonlyMap<number, Tensor> {
    return this.#running;
  }

  value(id: number): Tensor {
    const value = this.#values.get(id);
    if (value === undefined) throw new RepkitError("internal", `value ${id} is not computed yet`);
    return value;
  }

  has(id: number): boolean {
    return this.#values.has(id);
  }

  /** Values that are known already (weights of the evaluation before) stay the caller's. */
  runWeights(known: ReadonlyMap<number, Tensor> = new Map()): void {
    for (const node of this.#plan.weights) {
      const value = known.get(node.id);
      if (value === undefined)
        this.#run(node, (inputs) => computeWeight(this.#tools, node, inputs));
      else this.#values.set(node.id, value);
    }
  }

  /** `images`: N,H,W,C; the pass takes them over. Penalties follow. */
  runActivations(images: Tensor): void {
    for (const node of this.#plan.activations) {
      if (node.op.kind === "input") this.#keep(node.id, images);
      else this.#runActivation(node);
      for (const id of this.#plan.release.get(node.id) ?? []) this.#release(id);
    }
    this.runPenalties();
  }

  runPenalties(): void {
    for (const node of this.#plan.penalties) {
      this.#run(node, (inputs) => computeWeight(this.#tools, node, inputs));
    }
  }

  /**
   * Gradients of parameters and images from those of some values, which it takes over. Every value of
   * the pass that was saved for this is freed on the way.
   */
  backward(seeds: ReadonlyMap<number, Tensor>): Map<number, Tensor> {
    const { tf } = this.#tools;
    const held = new Set(this.#values.values());
    const gradients = new Map(seeds);
    for (let entry = this.#recorded.pop(); entry !== undefined; entry = this.#recorded.pop()) {
      const { node, backward, saved } = entry;
      const dy = gradients.get(node.id);
      if (dy !== undefined) {
        const wants = (position: number) =>
          this.#options.differentiated.has(node.inputs[position] ?? -1);
        let found: readonly (Tensor | undefined)[] = [];
        tf.tidy(() => {
          found = backward(dy, wants);
          return found.filter((one) => one !== undefined);
        });
        for (const [position, gradient] of found.entries()) {
          if (gradient === undefined) continue;
          if (wants(position)) this.#accumulate(gradients, node.inputs[position]!, gradient);
          else gradient.dispose();
        }
        gradients.delete(node.id);
        dy.dispose();
      }
      for (const tensor of saved) this.#forget(tensor, held);
    }
    return gradients;
  }

  #runActivation(node: Node): void {
    const { training } = this.#options;
    const isKernelReady = this.#plan.kernels.has(node.inputs[1] ?? -1);
    const running = this.#run(node, (inputs) =>
      computeActivation(this.#tools, node, inputs, { training, isKernelReady }),
    );
    if (running === undefined) return;
    const [, , , mean = -1, variance = -1] = node.inputs;
    for (const [id, value] of [
      [mean, running.mean],
      [variance, running.variance],
    ] as const) {
      this.#running.set(id, value);
      // What stands after the batch norm reads the statistics of this step.
      this.#values.set(id, value);
    }
  }

  #run(node: Node, compute: (inputs: readonly Tensor[]) => Computed): Computed["running"] {
    const { tf } = this.#tools;
    // A batch norm's counter is no tensor here.
    const read = node.op.kind === "batchNorm" ? node.inputs.slice(0, 5) : node.inputs;
    const inputs = read.map((id) => this.value(id));
    const isRecorded = this.#options.differentiated.has(node.id);
    let backward: Backward | undefined;
    // The closure is no tensor, and is kept out of what `tidy` looks through.
    const { value, saved, running } = tf.tidy(() => {
      const { backward: own, value, saved = [], running } = compute(inputs);
      backward = own;
      return {
        value,
        saved: isRecorded ? [...saved] : [],
        ...(running === undefined ? {} : { running: { ...running } }),
      };
    });
    this.#keep(node.id, value);
    if (isRecorded && backward !== undefined) {
      for (const tensor of saved) this.#readers.set(tensor, (this.#readers.get(tensor) ?? 0) + 1);
      this.#recorded.push({ node, backward, saved });
    }
    return running;
  }

  #keep(id: number, value: Tensor): void {
    this.#values.set(id, value);
    this.#owned.add(id);
  }

  /** The pass has no more use for the value, unless it is on its way back. */
  #release(id: number): void {
    const value = this.value(id);
    this.#values.delete(id);
    if (this.#owned.has(id) && !this.#readers.has(value)) value.dispose();
  }

  /** Someone's value (a parameter, a weight, an output) stays. */
  #forget(tensor: Tensor, held: ReadonlySet<Tensor>): void {
    const readers = (this.#readers.get(tensor) ?? 1) - 1;
    if (readers > 0) {
      this.#readers.set(tensor, readers);
      return;
    }
    this.#readers.delete(tensor);
    if (!held.has(tensor)) tensor.dispose();
  }

  #accumulate(gradients: Map<number, Tensor>, id: number, gradient: Tensor): void {
    const known = gradients.get(id);
    if (known === undefined) {
      gradients.set(id, gradient);
      return;
    }
    gradients.set(id, this.#tools.tf.add(known, gradient));
    known.dispose();
    gradient.dispose();
  }
}
