/** A network's parameters and buffers as TensorFlow.js holds them. */
import type { Tensor as TfTensor, Tensor4D } from "@tensorflow/tfjs-core";

import { toFloat32, type Graph, type ParamOp, type State, type Tensor } from "../../graph/index.js";
import type { Tf } from "./backend.js";
import { scoped } from "./ops.js";

export interface Slot {
  readonly id: number;
  readonly op: ParamOp;
  /** Lies as H,W,I,O; O,I,H,W outside. */
  readonly isKernel: boolean;
}

/**
 * A tensor per parameter or buffer (running statistics, moving averages, momentum), by node id; kept
 * through every `tidy`. Counters are numbers of 64 bits, which are no tensors.
 */
export class TensorStore {
  readonly tensors = new Map<number, TfTensor>();
  readonly counters = new Map<number, bigint>();
  readonly #tf: Tf;
  readonly #slots: readonly Slot[];

  constructor(tf: Tf, slots: readonly Slot[]) {
    this.#tf = tf;
    this.#slots = slots;
  }

  get isEmpty(): boolean {
    return this.tensors.size === 0;
  }

  /** Takes over a tensor that the current `tidy` holds; what was there goes. */
  set(id: number, tensor: TfTensor): void {
    this.tensors.get(id)?.dispose();
    this.tensors.set(id, this.#tf.keep(tensor));
  }

  /** Copies what the state has of the slots. */
  write(state: ReadonlyMap<string, Tensor>): void {
    for (const { id, op, isKernel } of this.#slots) {
      const tensor = state.get(op.name);
      if (tensor === undefined) continue;
      if (op.dtype === "i64") {
        this.counters.set(id, BigInt(tensor.data[0] ?? 0));
        continue;
      }
      const { data } = toFloat32(tensor);
      this.#tf.tidy(() => {
        // TensorFlow.js may keep the very array that it is given.
        const value = this.#tf.tensor(data.slice(), [...op.shape]);
        this.set(id, isKernel ? this.#tf.transpose(value, [2, 3, 1, 0]) : value);
      });
    }
  }

  /** A copy of everything, in state-dict order. */
  read(): State {
    const state: State = new Map();
    for (const { id, op, isKernel } of this.#slots) {
      const counter = this.counters.get(id);
      const tensor = this.tensors.get(id);
      if (counter !== undefined) {
        state.set(op.name, { shape: op.shape, data: BigInt64Array.of(counter) });
      } else if (tensor !== undefined) {
        state.set(op.name, exported(this.#tf, tensor, isKernel));
      }
    }
    return state;
  }

  clear(): void {
    for (const tensor of this.tensors.values()) tensor.dispose();
    this.tensors.clear();
    this.counters.clear();
  }
}

export function slotsOf(graph: Graph, kernels: ReadonlySet<number>): readonly Slot[] {
  return graph.nodes.flatMap(({ id, op }) =>
    op.kind === "param" ? [{ id, op, isKernel: kernels.has(id) }] : [],
  );
}

/** The numbers of a weight, O,I,H,W. */
export function exported(tf: Tf, tensor: TfTensor, isKernel: boolean): Tensor<Float32Array> {
  return isKernel ? numbersOf(tf, tensor, [3, 2, 0, 1]) : numbersOf(tf, tensor);
}

/** The numbers of an activation, N,C,H,W. */
export function exportedActivation(tf: Tf, tensor: TfTensor): Tensor<Float32Array> {
  return tensor.rank === 4 ? numbersOf(tf, tensor, [0, 3, 1, 2]) : numbersOf(tf, tensor);
}

function numbersOf(tf: Tf, tensor: TfTensor, axes?: number[]): Tensor<Float32Array> {
  return scoped(tf, () => {
    const ordered = axes === undefined ? tensor : tf.transpose(tensor as Tensor4D, axes);
    // The plain JavaScript backend hands out its own array.
    return { shape: ordered.shape, data: ordered.dataSync<"float32">().slice() };
  });
}
