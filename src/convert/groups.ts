/** The groups of a model that become one convolution each, and their weights. */
import { elementCount, type Graph, type StateSource, type Tensor } from "../graph/index.js";
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
  /** Those that nothing else in the network reads. */
  readonly source: ReadonlyMap<string, Tensor>;
  /** All that it was folded from. */
  readonly state: StateSource;
  readonly made: ReadonlyMap<string, Tensor>;
}

export function tensorsOf({ source, made }: FoldedGroup): readonly Tensor[] {
  return [...source.values(), ...made.values()];
}

/** Folds group after group of one model. */
export class GroupFolder {
  readonly convolutions: readonly FoldedConvolution[];
  /** By group, the parameters that it alone depends on. */
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
    this.sourceNames = ownParameters(
      original,
      groups.map(({ replaced }) => replaced),
    );
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
    const state = { get: (name: string) => source.get(name) ?? this.#source.get(name) };
    const made = new Map<string, Tensor>();
    const { weight, bias } = this.convolutions[index]!;
    for (const position of bias === undefined ? [weight] : [weight, bias]) {
      const { name, shape, value } = this.#parameters[position]!;
      const count = elementCount(shape);
      const data = new Float32Array(takeMemory(4 * count).buffer, 0, count);
      value(state, data);
      made.set(name, { shape, data });
    }
    return { index, source, state, made };
  }

  /** Tensors of the folded model that come of no group: those of the source, or expressions beside the groups. */
  others(): ReadonlyMap<string, Tensor> {
    const made = new Set(this.madeNames.flat());
    const others = this.#parameters.filter(({ name }) => !made.has(name));
    return new Map(others.map(({ name, value }) => [name, value(this.#source)]));
  }
}

/** By group, the parameters that its nodes read, and no other node of the network. */
function ownParameters(
  graph: Graph,
  groups: readonly (readonly number[])[],
): readonly ReadonlySet<string>[] {
  const replaced = new Set(groups.flat());
  const outside = graph.nodes.filter(
    ({ id, type }) => type.world === "activation" && !replaced.has(id),
  );
  const readers = [...groups, outside.map(({ id }) => id)].map((ids) =>
    parametersBehind(graph, ids),
  );
  const counts = new Map<string, number>();
  for (const name of readers.flatMap((names) => [...names])) {
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return readers
    .slice(0, groups.length)
    .map((names) => new Set([...names].filter((name) => counts.get(name) === 1)));
}

/** Names of the parameters that these nodes read, directly or by weight expressions. */
function parametersBehind({ nodes }: Graph, ids: readonly number[]): ReadonlySet<string> {
  const names = new Set<string>();
  const visit = (id: number): void => {
    const { op, inputs, type } = nodes[id]!;
    if (type.world !== "weight") return;
    if (op.kind === "param") names.add(op.name);
    else inputs.forEach(visit);
  };
  for (const id of ids) nodes[id]!.inputs.forEach(visit);
  return names;
}
