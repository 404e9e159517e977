/**
 * The weights of all folded convolutions, in one piece of memory that all threads write to: nothing is sent
 * back from thread to thread, and the garbage collector has one array to count instead of hundreds.
 */
import { elementCount } from "../graph/index.js";
import type { MaterialisedGraph } from "../reparam/index.js";

export interface FoldedWeight {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export class FoldedWeights {
  readonly graph: MaterialisedGraph;
  readonly memory: SharedArrayBuffer;
  /** Of each parameter, where in the memory it begins: in numbers. */
  readonly #begins = new Map<number, number>();

  /** `memory`: that of another thread's, of the same graph. */
  constructor(graph: MaterialisedGraph, memory?: SharedArrayBuffer) {
    this.graph = graph;
    let end = 0;
    for (const { weight, bias } of graph.convolutions) {
      for (const position of bias === undefined ? [weight] : [weight, bias]) {
        this.#begins.set(position, end);
        end += elementCount(graph.parameters[position]!.shape);
      }
    }
    this.memory = memory ?? new SharedArrayBuffer(4 * end);
  }

  /** The weight and the bias of a convolution. */
  of(index: number): { readonly weight: FoldedWeight; readonly bias: FoldedWeight | undefined } {
    const { weight, bias } = this.graph.convolutions[index]!;
    return { weight: this.#at(weight), bias: bias === undefined ? undefined : this.#at(bias) };
  }

  #at(position: number): FoldedWeight {
    const { shape } = this.graph.parameters[position]!;
    const begin = 4 * this.#begins.get(position)!;
    return { shape, data: new Float32Array(this.memory, begin, elementCount(shape)) };
  }
}
