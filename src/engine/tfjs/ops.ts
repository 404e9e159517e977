/** What a node computes, and how gradients go back through it. */
import type { Tensor } from "@tensorflow/tfjs-core";

import type { Layers, Tf } from "./backend.js";

/** What the ops work with. */
export interface Toolbox {
  readonly tf: Tf;
  readonly layers: Layers;
}

export interface Computed {
  readonly value: Tensor;
  /** Absent where nothing can be differentiated. */
  readonly backward?: Backward;
  /** Values that `backward` reads; they live until it has run. */
  readonly saved?: readonly Tensor[];
  /** A batch norm's running statistics after this batch. */
  readonly running?: { readonly mean: Tensor; readonly variance: Tensor };
}

/**
 * The gradients of a node's inputs from that of its value; `wants` says of which inputs. New tensors
 * (or clones), none of them `dy` itself.
 */
export type Backward = (
  dy: Tensor,
  wants: (position: number) => boolean,
) => readonly (Tensor | undefined)[];

/**
 * What `f` makes, which is no tensor, without the tensors it left behind. (`tf.tidy` looks for tensors
 * in all that is returned, in every element of an array of numbers too.)
 */
export function scoped<T>(tf: Tf, f: () => T): T {
  let result: T | undefined;
  tf.tidy(() => {
    result = f();
  });
  return result as T;
}
