/** The state of a graph: which parameters it has, and what they are before training. */
import { randomStream } from "../util/random.js";
import { elementCount, sameShape, type State, type Tensor, type TensorData } from "./tensor.js";
import type { Fill, Graph, Initialiser, ParamOp } from "./types.js";

/** Parameters and buffers in state-dict order. */
export function parametersOf(graph: Graph): readonly ParamOp[] {
  return graph.nodes.flatMap(({ op }) => (op.kind === "param" ? [op] : []));
}

/** Number of trained values (buffers do not count), as `sum(p.numel() for p in model.parameters())`. */
export function parameterCount(graph: Graph): number {
  return parametersOf(graph)
    .filter(({ role }) => role === "param")
    .reduce((sum, { shape }) => sum + elementCount(shape), 0);
}

/** Fresh values for every entry of the state, the same for the same seed. */
export function initialState(graph: Graph, seed: number): State {
  const state: State = new Map();
  for (const op of parametersOf(graph)) state.set(op.name, initialTensor(op, seed));
  return state;
}

/** A fresh value for one parameter; it depends on the seed and the parameter's name alone. */
export function initialTensor(op: ParamOp, seed: number): Tensor {
  const { shape, init } = op;
  if (op.dtype === "i64") return { shape, data: new BigInt64Array(elementCount(shape)) };
  const data = new Float32Array(elementCount(shape));
  const bound = uniformBound(init, shape);
  if (bound === undefined) {
    fill(data, shape, init as Fill);
  } else {
    const random = randomStream(seed, op.name);
    for (let i = 0; i < data.length; i++) data[i] = (2 * random() - 1) * bound;
  }
  return { shape, data };
}

/** The value of a `constant` node, in float64. */
export function constantTensor(shape: readonly number[], value: Fill): Tensor<Float64Array> {
  const data = new Float64Array(elementCount(shape));
  fill(data, shape, value);
  return { shape, data };
}

/** The same for reading alone: identities are large, and the same in many blocks, which share the last few. */
export function sharedConstant(shape: readonly number[], value: Fill): Tensor<Float64Array> {
  if (value.kind !== "identity") return constantTensor(shape, value);
  const known = identities.find((tensor) => sameShape(tensor.shape, shape));
  if (known !== undefined) return known;
  const made = constantTensor(shape, value);
  identities.push(made);
  if (identities.length > MOST_IDENTITIES) identities.shift();
  return made;
}

/** The same values in memory of their own, where they are shared ones: for those who may write to them. */
export function unshared(tensor: Tensor<Float64Array>): Tensor<Float64Array> {
  const { shape, data } = tensor;
  return identities.some((shared) => shared.data === data) ? { shape, data: data.slice() } : tensor;
}

/** Lets go of what is shared. */
export function forgetSharedConstants(): void {
  identities.length = 0;
}

const MOST_IDENTITIES = 4;
const identities: Tensor<Float64Array>[] = [];

function uniformBound(init: Initialiser, shape: readonly number[]): number | undefined {
  if (init.kind === "uniform") return init.bound;
  if (init.kind !== "kaimingUniform") return undefined;
  const fanIn = elementCount(shape.slice(1));
  return Math.sqrt(6 / ((1 + init.a ** 2) * fanIn));
}

function fill(
  data: Exclude<TensorData, BigInt64Array>,
  shape: readonly number[],
  value: Fill,
): void {
  switch (value.kind) {
    case "constant":
      data.fill(value.value);
      return;
    case "rows": {
      const length = elementCount(shape.slice(1));
      for (const [row, entry] of value.values.entries()) {
        data.fill(entry, row * length, (row + 1) * length);
      }
      return;
    }
    case "identity": {
      const [out = 0, perGroup = 1, height = 1, width = 1] = shape;
      const centre = (height >> 1) * width + (width >> 1);
      for (let o = 0; o < out; o++) {
        data[(o * perGroup + (o % perGroup)) * height * width + centre] = 1;
      }
      return;
    }
    case "frequencyPrior":
      fillFrequencyPrior(data, shape);
      return;
  }
}

/**
 * OREPA's prior: cos(pi (h + 1/2) (i + 1) / K) for i < O/2, the same along w with i - O/2 after that.
 * The reference writes K = 3 into the formula; for other sizes this is its natural continuation.
 */
function fillFrequencyPrior(data: Float64Array | Float32Array, shape: readonly number[]): void {
  const [out = 0, height = 1, width = 1] = shape;
  const half = out / 2;
  let position = 0;
  for (let i = 0; i < out; i++) {
    for (let h = 0; h < height; h++) {
      for (let w = 0; w < width; w++) {
        data[position++] =
          i < half
            ? Math.cos((Math.PI * (h + 0.5) * (i + 1)) / height)
            : Math.cos((Math.PI * (w + 0.5) * (i + 1 - half)) / width);
      }
    }
  }
}
