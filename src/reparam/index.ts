/** Re-parameterization: whatever is linear between two nonlinearities becomes one convolution. */
import type { Graph, State, StateSource } from "../graph/index.js";
import { type FoldedGroup, foldGraph, type FoldOptions, type Refusal } from "./fold.js";
import { materialise } from "./materialise.js";

export { evaluateWeight } from "./evaluate.js";
export { equivalentKernel, type EquivalentConvolution } from "./equivalent.js";
export {
  type FoldedGraph,
  type FoldedGroup,
  foldGraph,
  type FoldOptions,
  type Refusal,
} from "./fold.js";
export { checkGroup, type GroupCheck, GROUP_TOLERANCE } from "./check.js";
export {
  materialise,
  type FoldedConvolution,
  type MaterialisedGraph,
  type MaterialisedParameter,
} from "./materialise.js";
export type { Rule, Verdict } from "./rule.js";
export { rules } from "./rules/index.js";

export interface Folded {
  readonly graph: Graph;
  /** In state-dict order: folded weights in float32, all else the very tensors of the source. */
  readonly state: State;
  readonly groups: readonly FoldedGroup[];
  readonly refused: readonly Refusal[];
}

/** Folds a graph and converts its state, in float64, rounded once to float32. */
export function fold(graph: Graph, state: StateSource, options: FoldOptions = {}): Folded {
  const folded = foldGraph(graph, options);
  const result = materialise(graph, folded.graph, folded.groups);
  const values: State = new Map();
  for (const { name, value } of result.parameters) values.set(name, value(state));
  return { graph: result.graph, state: values, groups: folded.groups, refused: folded.refused };
}
