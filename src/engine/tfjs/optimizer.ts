/** SGD as PyTorch defines it; see TrainingOptions. */
import type { Tensor } from "@tensorflow/tfjs-core";

import type { ParameterSettings } from "../types.js";
import type { Tf } from "./backend.js";
import { scoped } from "./ops.js";
import type { TensorStore } from "./parameters.js";

export interface SgdOptions {
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly clipNorm: number | undefined;
  /** By node id of the parameter. */
  readonly settings: ReadonlyMap<number, Required<ParameterSettings>>;
}

/** One update of every parameter that has a gradient; `momentum` holds the velocities. */
export function sgdStep(
  tf: Tf,
  { momentum, nesterov, clipNorm, settings }: SgdOptions,
  stores: { readonly parameters: TensorStore; readonly velocities: TensorStore },
  gradients: ReadonlyMap<number, Tensor>,
  learningRate: number,
): void {
  const factor = clipNorm === undefined ? 1 : clipFactor(tf, gradients, clipNorm);
  for (const [id, gradient] of gradients) {
    const { lrMultiplier = 1, weightDecay = 0 } = settings.get(id) ?? {};
    tf.tidy(() => {
      const value = stores.parameters.tensors.get(id)!;
      const scaled = factor === 1 ? gradient : tf.mul(gradient, factor);
      const g = weightDecay === 0 ? scaled : tf.add(scaled, tf.mul(value, weightDecay));
      const before = stores.velocities.tensors.get(id);
      const v = before === undefined ? tf.clone(g) : tf.add(tf.mul(before, momentum), g);
      const direction = nesterov ? tf.add(g, tf.mul(v, momentum)) : v;
      stores.parameters.set(id, tf.sub(value, tf.mul(direction, learningRate * lrMultiplier)));
      stores.velocities.set(id, v);
    });
  }
}

/** torch.nn.utils.clip_grad_norm_, its 1e-6 included. */
function clipFactor(tf: Tf, gradients: ReadonlyMap<number, Tensor>, clipNorm: number): number {
  let squares = 0;
  for (const gradient of gradients.values()) {
    squares += scoped(tf, () => tf.sum(tf.square(gradient)).dataSync()[0]!);
  }
  return Math.min(1, clipNorm / (Math.sqrt(squares) + 1e-6));
}
