/** Runs a network as far as there are weights for it. */
import { RepkitError } from "../errors.js";
import type { Graph, Node, StateSource, Tensor } from "../graph/index.js";
import { runNetwork } from "./network.js";

export class FollowingRun {
  readonly #run: Generator<Node, Float64Array, undefined>;
  readonly #waitingFor: Set<string>;
  readonly #offered = new Map<string, Tensor>();
  #step: IteratorResult<Node, Float64Array>;

  /** `toCome`: the names of the tensors that will be offered; `rest` has the others. */
  constructor(graph: Graph, toCome: Iterable<string>, rest: StateSource) {
    this.#waitingFor = new Set(toCome);
    this.#run = runNetwork(graph, {
      get: (name) => this.#offered.get(name) ?? rest.get(name),
    });
    this.#step = this.#run.next();
    this.#follow();
  }

  offer(tensors: ReadonlyMap<string, Tensor>): void {
    for (const [name, tensor] of tensors) {
      this.#waitingFor.delete(name);
      this.#offered.set(name, tensor);
    }
    this.#follow();
  }

  #follow(): void {
    for (; this.#step.done !== true; this.#step = this.#run.next()) {
      const { op } = this.#step.value;
      if (op.kind === "param" && this.#waitingFor.has(op.name)) return;
    }
  }

  /** Whether node `id` and all before it have been computed. */
  hasPassed(id: number): boolean {
    return this.#step.done === true || this.#step.value.id > id;
  }

  forget(names: Iterable<string>): void {
    for (const name of names) this.#offered.delete(name);
  }

  /** After the last offer. */
  logits(): Float64Array {
    if (this.#step.done === true) return this.#step.value;
    throw new RepkitError("internal", `the network's check waits for ${this.#step.value.name}`);
  }
}
