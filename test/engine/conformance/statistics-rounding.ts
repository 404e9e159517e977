// What batch norms that sum in float32 make of a network in training.

import {
  type Graph,
  type State,
  type StateSource,
  type Tensor,
  toFloat64,
} from "../../../src/graph/index.js";
import { randomStream } from "../../../src/util/random.js";
import { filledState } from "../../helpers/fill.js";
import { distance, largestDifference, norm } from "./distances.js";
import { load, ROUNDOFF, type Subject } from "./subject.js";

const { abs, max, min, sqrt } = Math;

/** Draws of the rounding: one may be small by luck, and one may turn a ReLU. */
const DRAWS = 3;

/** How far rounded statistics move what a training step computes. */
export interface StatisticsRounding {
  /** The largest difference of a logit. */
  readonly logits: number;
  readonly loss: number;
  /** The median over the gradients of a difference's norm relative to the gradient's. */
  readonly gradient: number;
}

const EXACT_STATISTICS: StatisticsRounding = { logits: 0, loss: 0, gradient: 0 };

export interface TrainingBatch {
  readonly images: Tensor;
  readonly labels: Int32Array;
}

/**
 * A sum of n equal terms, added up one after another in float32, rounds each of its partial sums
 * k/n, by 1/sqrt(3) of a roundoff root mean square: by sqrt(sum (k/n)^2 / 3) = sqrt(n)/3 roundoffs
 * in all. So rounds a channel's mean (relative to the standard deviation, where that is of the mean's
 * size) and its variance. What that does to a network is seen in fp64: a mean off by e standard
 * deviations is a beta off by e gamma, a variance off by e of itself is a gamma off by e/2 of itself.
 */
export async function statisticsRounding(
  subject: Subject,
  graph: Graph,
  { images, labels }: TrainingBatch,
): Promise<StatisticsRounding> {
  if (subject.sumsStatisticsInFloat32 !== true) return EXACT_STATISTICS;
  const { exactEngine: engine = subject.engine } = subject;
  const differentiate = async (state: StateSource) => {
    const network = await load({ engine, precision: "fp64" }, graph, state);
    const found = await network.differentiate(images, { labels });
    await network.dispose();
    return found;
  };
  const state = filledState(graph);
  const exact = await differentiate(state);
  const rounding = { logits: 0, loss: 0, gradient: Infinity };
  for (let draw = 0; draw < DRAWS; draw++) {
    const found = await differentiate(withRoundedStatistics(graph, state, images.shape[0]!, draw));
    const [own, expected] = [found, exact].map(({ outputs }) => outputs.get("logits")!);
    rounding.logits = max(rounding.logits, largestDifference(own!, expected!));
    rounding.loss = max(rounding.loss, abs(found.loss! - exact.loss!));
    const relative = Array.from(exact.gradients, ([name, gradient]) => {
      return distance(found.gradients.get(name)!, gradient) / norm(gradient);
    }).sort((a, b) => a - b);
    // The least of them: a turned ReLU is a matter of its own.
    rounding.gradient = min(rounding.gradient, relative[relative.length >> 1]!);
  }
  return rounding;
}

function withRoundedStatistics(graph: Graph, state: State, batch: number, draw: number): State {
  const moved = new Map(state);
  for (const { op, inputs } of graph.nodes) {
    if (op.kind !== "batchNorm") continue;
    const [x, gamma, beta] = inputs.map((id) => graph.nodes[id]!);
    const [, height = 1, width = 1] = x!.type.shape;
    const rounding = (sqrt(batch * height * width) / 3) * ROUNDOFF.fp32;
    if (gamma!.op.kind !== "param" || beta!.op.kind !== "param") {
      throw new Error("a batch norm's gamma and beta are parameters");
    }
    const uniform = randomStream(draw, gamma!.op.name);
    const random = () => sqrt(3) * (2 * uniform() - 1) * rounding;
    const scales = toFloat64(state.get(gamma!.op.name)!);
    const shifts = toFloat64(state.get(beta!.op.name)!);
    moved.set(gamma!.op.name, {
      shape: scales.shape,
      data: scales.data.map((scale) => scale * (1 + random() / 2)),
    });
    moved.set(beta!.op.name, {
      shape: shifts.shape,
      data: shifts.data.map((shift, c) => shift + scales.data[c]! * random()),
    });
  }
  return moved;
}
