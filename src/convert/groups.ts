/**
 * The weights of the folded convolutions of one model, each with its check. The work is the same in
 * a worker thread and in the main one.
 */
import type { Graph, StateSource, Tensor } from "../graph/index.js";
import {
  checkGroup,
  type FoldedGraph,
  type GroupCheck,
  materialise,
  type MaterialisedGraph,
} from "../reparam/index.js";
import { recycle } from "../util/spare-memory.js";
import type { ModelOptions } from "../zoo/index.js";
import { FoldedWeights } from "./folded-weights.js";
import { networkLogits } from "./network.js";

/** Plain data, so that a worker thread can be given it. */
export interface GroupsToFold {
  readonly original: Graph;
  readonly folded: FoldedGraph;
  /** Whether to run each group before and after. */
  readonly verify: boolean;
  /** Where the weights go. Default: memory of their own. */
  readonly memory?: SharedArrayBuffer;
}

/** What is known of a group once its weights are in their place. */
export interface GroupResult {
  readonly index: number;
  readonly check: GroupCheck | undefined;
}

/** Folds group after group of one model, and runs the model as it was. */
export class GroupFolder {
  readonly weights: FoldedWeights;
  readonly #job: GroupsToFold;
  readonly #source: StateSource;
  readonly #result: MaterialisedGraph;

  constructor(job: GroupsToFold, state: StateSource) {
    this.#job = job;
    this.#source = state;
    this.#result = materialise(job.original, job.folded.graph, job.folded.groups);
    this.weights = new FoldedWeights(this.#result, job.memory);
  }

  /** The logits before folding, which those after it are held against. */
  logits(model: ModelOptions): Float64Array {
    return networkLogits(model, this.#source);
  }

  fold(index: number): GroupResult {
    const { original, folded, verify } = this.#job;
    const { parameters, convolutions } = this.#result;
    const convolution = convolutions[index]!;
    // Folding and checking read the same tensors; no other group does.
    const read = new Map<string, Tensor | undefined>();
    const state = cached(this.#source, read);
    const { weight, bias } = this.weights.of(index);
    parameters[convolution.weight]!.value(state, weight.data);
    if (bias !== undefined) parameters[convolution.bias!]!.value(state, bias.data);
    const check = verify
      ? checkGroup(original, state, {
          replaced: folded.groups[index]!.replaced,
          conv: convolution.op,
          weight,
          bias,
        })
      : undefined;
    for (const tensor of read.values()) if (tensor !== undefined) recycle(tensor.data);
    return { index, check };
  }
}

function cached(source: StateSource, read: Map<string, Tensor | undefined>): StateSource {
  return {
    get(name) {
      if (!read.has(name)) read.set(name, source.get(name));
      return read.get(name);
    },
  };
}
