/** The two forms of a network: as it trains, and as it is deployed. */
import {
  type Graph,
  graphMacs,
  parameterCount,
  type State,
  type StateSource,
} from "../graph/index.js";
import {
  checkGroup,
  type FoldedGraph,
  foldGraph,
  materialise,
  type MaterialisedGraph,
} from "../reparam/index.js";

/** A graph that can be run: its first output counts. */
export interface Form {
  readonly graph: Graph;
  readonly state: StateSource;
}

export interface Forms {
  readonly train: Form;
  readonly deploy: Form;
  readonly folded: FoldedGraph;
  readonly materialised: MaterialisedGraph;
}

/** Folds a network. `deployed`: the weights of its deployed form, where they are known already. */
export function bothForms(graph: Graph, state: StateSource, deployed?: StateSource): Forms {
  const main = { ...graph, outputs: graph.outputs.slice(0, 1) };
  const folded = foldGraph(main);
  const materialised = materialise(main, folded.graph, folded.groups);
  const train = { graph: main, state };
  const deploy = {
    graph: materialised.graph,
    state: deployed ?? foldedState(materialised, state),
  };
  return { train, deploy, folded, materialised };
}

function foldedState({ parameters }: MaterialisedGraph, state: StateSource): State {
  return new Map(parameters.map(({ name, value }) => [name, value(state)]));
}

/** Trained values, and multiply-adds per image. */
export interface Costs {
  readonly params_train: number;
  readonly params_deploy: number;
  readonly macs_train: number;
  readonly macs_deploy: number;
}

export function costsOf({ train, deploy }: Forms): Costs {
  return {
    params_train: parameterCount(train.graph),
    params_deploy: parameterCount(deploy.graph),
    macs_train: graphMacs(train.graph),
    macs_deploy: graphMacs(deploy.graph),
  };
}

export interface LayerDifference {
  /** The folded convolution that differs most from the branches it replaces. */
  readonly name: string;
  /** As a share of the largest value of an output channel. */
  readonly share: number;
}

/** Every folded convolution by itself, in float64; undefined where nothing was folded. */
export function worstLayer({
  train,
  deploy,
  folded,
  materialised,
}: Forms): LayerDifference | undefined {
  const { parameters, convolutions } = materialised;
  const tensorAt = (position: number) => deploy.state.get(parameters[position]!.name);
  let worst: LayerDifference | undefined;
  for (const [index, { replaced }] of folded.groups.entries()) {
    const { name, op: conv, weight: at, bias: biasAt } = convolutions[index]!;
    const weight = tensorAt(at)!;
    const bias = biasAt === undefined ? undefined : tensorAt(biasAt);
    const { share } = checkGroup(train.graph, train.state, { replaced, conv, weight, bias });
    if (worst === undefined || share > worst.share) worst = { name, share };
  }
  return worst;
}
