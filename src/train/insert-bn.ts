/**
 * Batch norms for a converted model, so that it can be trained on: its convolutions have none, and
 * without them fine-tuning breaks down. Let y be what a convolution computes before its bias b is
 * added, mu and v the mean and variance of y's channels over training images. Then
 *
 *     y + b = gamma (y - mu) / sqrt(v + eps) + beta,   gamma = sqrt(v + eps),  beta = b + mu
 *
 * so that nothing changes but the structure: it is that of block `base`, which is trained, saved and
 * converted like any other. Reference: DingXiaoH/RepVGG@eae7c52, tools/insert_bn.py. There mu and v
 * are moving averages that begin with one batch and go on at 0.9; here they are the exact moments
 * of all the images together, and so depend neither on their order nor on the size of a batch.
 */
import type { LoadedCheckpoint } from "../checkpoint/index.js";
import type { Engine, LoadOptions } from "../engine/types.js";
import { fileError, RepkitError } from "../errors.js";
import {
  type Graph,
  initialTensor,
  type Node,
  parametersOf,
  type State,
  type StateSource,
  type Tensor,
  toFloat64,
} from "../graph/index.js";
import type { Model } from "../zoo/index.js";
import { pairWithBase } from "./base-pairing.js";
import {
  channelMoments,
  type Measured,
  type Moments,
  type MomentsOptions,
} from "./channel-moments.js";

/** The reference's averages remember about their last ten batches, of 100 images. */
export const STATISTICS_IMAGES = 1000;

/** 128 MiB: three images of ResNet-50. Engine and garbage collector hold a few times as much. */
const HELD_BYTES = 2 ** 27;

/** `images`: default 1000, fewer where there are fewer. `heldBytes`: default 128 MiB. */
export interface InsertBatchNormOptions
  extends
    Pick<MomentsOptions, "batches" | "onProgress">,
    Partial<Pick<MomentsOptions, "images" | "heldBytes">> {
  readonly deployed: Pick<LoadedCheckpoint, "path" | "model" | "state">;
  readonly engine: Pick<Engine, "load">;
  /** Device, precision and threads. Default: the CPU in float32. */
  readonly load?: Omit<LoadOptions, "training"> | undefined;
  /** Of what a deployed model does not have: auxiliary heads. */
  readonly seed: number;
}

export interface InsertedBatchNorm {
  /** Of block `base`, in training structure. */
  readonly model: Model;
  /** What was computed is in float64; who trains or saves it rounds it to float32. */
  readonly state: State;
  /** How many were measured. */
  readonly images: number;
  readonly notes: readonly string[];
}

/**
 * @throws RepkitError "usage" where the checkpoint is not of a deployed model, or block `base` cannot
 * compute the same; "file" without any image, or with weights that are not finite
 */
export async function insertBatchNorm(options: InsertBatchNormOptions): Promise<InsertedBatchNorm> {
  const { deployed, seed } = options;
  const { model, norms, kept, fresh } = pairWithBase(deployed.model, deployed.path);
  const convolutions = norms.map((pair) => pair.deployed);
  const { moments, images } = await measure(options, convolutions);
  const computed: State = new Map();
  for (const [index, convolution] of convolutions.entries()) {
    const bias = biasOf(deployed.model.graph, convolution, deployed.state);
    const { norm } = norms[index]!;
    const values = normValues(norm, bias, moments[index]!);
    if (!values.every((data) => data.every(Number.isFinite))) {
      throw fileError(deployed.path, `${convolution.name} computes values that are not finite`);
    }
    for (const [position, data] of values.entries()) {
      const name = parameterName(model.graph, norm.inputs[1 + position]);
      computed.set(name, { shape: [data.length], data });
    }
  }
  const state: State = new Map();
  for (const op of parametersOf(model.graph)) {
    const source = kept.get(op.name);
    const known = source === undefined ? computed.get(op.name) : tensorOf(deployed.state, source);
    state.set(op.name, known ?? initialTensor(op, seed));
  }
  const notes = fresh.length === 0 ? [] : [`auxiliary heads start anew: ${fresh.join(", ")}`];
  return { model, state, images, notes };
}

/** Moments of what the deployed convolutions compute, bias included. */
async function measure(
  options: InsertBatchNormOptions,
  convolutions: readonly Node[],
): Promise<Measured> {
  const { deployed, engine, load = {}, batches, onProgress } = options;
  const { images = STATISTICS_IMAGES, heldBytes = HELD_BYTES } = options;
  const executable = await engine.load(deployed.model.graph, deployed.state, load);
  try {
    const parts = { batches, images, heldBytes, onProgress };
    const measured = await channelMoments(executable, convolutions, parts);
    if (measured.images > 0) return measured;
    throw fileError(deployed.path, "--insert-bn needs training images, and there are none");
  } finally {
    await executable.dispose();
  }
}

/** Gamma, beta, mean and variance, in the order of a batch norm's inputs. */
function normValues(
  { op }: Node,
  bias: Float64Array,
  { mean, variance }: Moments,
): readonly Float64Array[] {
  if (op.kind !== "batchNorm") throw new RepkitError("internal", `${op.kind} is no batch norm`);
  const gamma = variance.map((value) => Math.sqrt(value + op.eps));
  // That of y + b is mu + b, and so beta.
  const withoutBias = mean.map((value, channel) => value - bias[channel]!);
  return [gamma, mean, withoutBias, variance];
}

function biasOf(graph: Graph, { type, inputs }: Node, state: StateSource): Float64Array {
  const [, , bias] = inputs;
  if (bias === undefined) return new Float64Array(type.shape[0] ?? 0);
  return toFloat64(tensorOf(state, parameterName(graph, bias))).data;
}

function parameterName(graph: Graph, id = -1): string {
  const op = graph.nodes[id]?.op;
  if (op?.kind === "param") return op.name;
  throw new RepkitError("internal", `node ${id} is no parameter`);
}

function tensorOf(state: StateSource, name: string): Tensor {
  const tensor = state.get(name);
  if (tensor === undefined) throw new RepkitError("internal", `the state has no ${name}`);
  return tensor;
}
