/** Weights for networks that nobody has trained, such that every branch and every batch norm counts. */
import {
  elementCount,
  type Graph,
  initialState,
  type ParamOp,
  randomStream,
  type State,
  type Tensor,
} from "../graph/index.js";

/**
 * Gamma, beta, mean and variance are uniform between 0 and this in the reference's verification
 * (DingXiaoH/DiverseBranchBlock@e871512, dbb_verify.py). Fresh ones (mean 0, variance 1) would hide a
 * fold that forgets them.
 */
const LARGEST = 0.1;

/** Fresh weights, and batch norms as if they had been trained; the same for the same seed. */
export function randomisedState(graph: Graph, seed: number): State {
  const state = initialState(graph, seed);
  for (const node of graph.nodes) {
    if (node.op.kind !== "batchNorm") continue;
    const [, gamma, beta, mean, variance] = node.inputs;
    for (const id of [gamma, beta, mean, variance]) {
      const op = id === undefined ? undefined : graph.nodes[id]?.op;
      if (op?.kind === "param") state.set(op.name, uniform(op, seed));
    }
  }
  return state;
}

function uniform({ name, shape }: ParamOp, seed: number): Tensor {
  const random = randomStream(seed, `statistics of ${name}`);
  return {
    shape,
    data: Float32Array.from({ length: elementCount(shape) }, () => LARGEST * random()),
  };
}
