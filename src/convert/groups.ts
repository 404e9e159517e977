/** The groups of a model that become one convolution each, and their weights. */
import {
  elementCount,
  type Graph,
  parametersOf,
  type StateSource,
  type Tensor,
} from "../graph/index.js";
import {
  type FoldedConvolution,
  type FoldedGraph,
  materialise,
  type MaterialisedGraph,
} from "../reparam/index.js";
import { takeMemory } from "../util/spare-memory.js";

/** A group with its tensors: those that it was folded from, and those that came of it. */
export interface FoldedGroup {
  readonly index: number;
  readonly source: ReadonlyMap<string, Tensor>;
  readonly made: ReadonlyMap<string, Tensor>;
}

export function tensorsOf({ source, made }: FoldedGroup): readonly Tensor[] {
  return [...source.values(), ...made.values()];
}

/** Folds group after group of one model. */
export class GroupFolder {
  readonly convolutions: readonly FoldedConvolution[];
  /** By group, the parameters that it depends on. */
  readonly sourceNames: readonly ReadonlySet<string>[];
  /** By group, the names of its weight and its bias. */
  readonly madeNames: readonly (readonly string[])[];
  readonly #source: StateSource;
  readonly #parameters: MaterialisedGraph["parameters"];

  constructor(original: Graph, { graph, groups }: FoldedGraph, source: StateSource) {
    const { convolutions, parameters } = materialise(original, graph, groups);
    this.#source = source;
    this.#parameters = parameters;
    this.convolutions = convolutions;
    this.sourceNames = groups.map(({ replaced }) => parametersBehind(original, replaced));
    this.madeNames = convolutions.map(({ weight, bias }) =>
      [weight, bias].flatMap((position) => parameters[position ?? -1]?.name ?? []),
    );
  }

  fold(index: number): FoldedGroup {
    const source = new Map<string, Tensor>();
    for (const name of this.sourceNames[index]!) {
      const tensor = this.#source.get(name);
      if (tensor !== undefined) source.set(name, tensor);
    }
    const made = new Map<string, Tensor>();
    const { weight, bias } = this.convolutions[index]!;
    for (const position of bias === undefined ? [weight] : [weight, bias]) {
      const { name, shape, value } = this.#parameters[position]!;
      const count = elementCount(shape);
      const data = new Float32Array(takeMemory(4 * count).buffer, 0, count);
      value(source, data);
      made.set(name, { shape, data });
    }
    return { index, source, made };
  }

  /** Tensors of the folded model that come of no group: those of the source, or expressions beside the groups. */
  others(): ReadonlyMap<string, Tensor> {
    const made = new Set(this.madeNames.flat());
    const others = this.#parameters.filter(({ name }) => !made.has(name));
    return new Map(others.map(({ name, value }) => [name, value(this.#source)]));
  }
}

/** Names of the parameters that the replaced nodes read, directly or by weight expressions. */
function parametersBehind({ nodes }: Graph, replaced: readonly number[]): ReadonlySet<string> {
  const names = new Set<string>();
  const visit = (id: number): void => {
    const { op, inputs, type } = nodes[id]!;
    if (type.world !== "weight") return;
    if (op.kind === "param") names.add(op.name);
    else inputs.forEach(visit);
  };
  for (const id of replaced) nodes[id]!.inputs.forEach(visit);
  return names;
}

/** Tensors of a graph's state that none of these names is of. */
export function tensorsBeside(
  graph: Graph,
  names: ReadonlySet<string>,
  state: StateSource,
): ReadonlyMap<string, Tensor> {
  const found = new Map<string, Tensor>();
  for (const { name } of parametersOf(graph)) {
    const tensor = names.has(name) ? undefined : state.get(name);
    if (tensor !== undefined) found.set(name, tensor);
  }
  return found;
}
