/**
 * From a folded graph, whose weights are expressions over the original parameters, to one with
 * parameters of its own, and how to compute their values.
 */
import { RepkitError, usageError } from "../errors.js";
import {
  elementCount,
  type Graph,
  GraphBuilder,
  type Node,
  type OpOf,
  type ParamOp,
  type StateSource,
  type Tensor,
  type Value,
} from "../graph/index.js";
import { evaluateRounded } from "./evaluate.js";
import { convolutionNames, expressionNames, type Groups } from "./names.js";

/** An entry of the new state. */
export interface MaterialisedParameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: ParamOp["dtype"];
  /** True where the value is the original state's own tensor of that name. */
  readonly isUnchanged: boolean;
  /**
   * Computes (in float64, rounded once to float32; in `into`, where that is given) or reads the value; keeps
   * nothing between calls.
   */
  readonly value: (state: StateSource, into?: Float32Array<ArrayBufferLike>) => Tensor;
}

export interface MaterialisedGraph {
  readonly graph: Graph;
  /** In state-dict order. */
  readonly parameters: readonly MaterialisedParameter[];
  /** The convolution that each group became, in the order of the groups. */
  readonly convolutions: readonly FoldedConvolution[];
}

export interface FoldedConvolution {
  /** `stage1.0.conv1.dbb_reparam` */
  readonly name: string;
  readonly op: OpOf<"conv2d">;
  /** Positions among the parameters. */
  readonly weight: number;
  readonly bias: number | undefined;
}

/**
 * Gives each folded convolution parameters `<name>.weight` and `<name>.bias`: the name that its block
 * provides, or that of the only convolution in it, or `<common scope>.reparam`.
 */
export function materialise(original: Graph, folded: Graph, groups: Groups): MaterialisedGraph {
  const builder = new GraphBuilder();
  const names = convolutionNames(original, folded, groups);
  const computed = expressionNames(folded, names);
  const values = new Map<number, Value>();
  const parameters: MaterialisedParameter[] = [];
  const convolutions = new Map<number, FoldedConvolution>();
  const kept = keptWeights(folded, names);

  const compute = (from: Node, op: ParamOp): Value => {
    const { name, shape, dtype } = op;
    const value = (state: StateSource, into?: Float32Array) =>
      evaluateRounded(folded, from.id, state, into);
    parameters.push({ name, shape, dtype, isUnchanged: false, value });
    return builder.add(op, [], name);
  };
  for (const node of folded.nodes) {
    const { op } = node;
    if (node.type.world === "weight") {
      if (!kept.has(node.id)) continue;
      if (op.kind === "param") {
        const { name, shape, dtype } = op;
        const value = (state: StateSource) => storedTensor(state, name);
        parameters.push({ name, shape, dtype, isUnchanged: true, value });
      }
      values.set(node.id, builder.add(op, [], node.name));
      continue;
    }
    const foldedName = names.get(node.id);
    const name = foldedName ?? node.name;
    const inputs = node.inputs.map((id, position) => {
      const input = folded.nodes[id]!;
      const known = values.get(id);
      const isWeight = input.type.world === "weight";
      if (known !== undefined && !(isWeight && foldedName !== undefined)) return known;
      const layer = computed.get(node.id) ?? name;
      return compute(input, layerParameter(layer, folded, node, position));
    });
    const labels = { foldName: node.foldName, rules: node.rules };
    values.set(node.id, builder.add(op, inputs, name, labels));
    if (foldedName === undefined || op.kind !== "conv2d") continue;
    const hasBias = inputs.length === 3;
    const weight = parameters.length - (hasBias ? 2 : 1);
    const bias = hasBias ? parameters.length - 1 : undefined;
    convolutions.set(node.id, { name, op, weight, bias });
  }
  const outputs = folded.outputs.map(({ name, value }) => {
    const made = values.get(value);
    if (made !== undefined) return [name, made] as const;
    throw usageError(`output "${name}" is a weight; a deployed graph has activations as outputs`);
  });
  return {
    graph: builder.build(Object.fromEntries(outputs)),
    parameters,
    convolutions: groups.map(({ convolution }) => convolutions.get(convolution)!),
  };
}

/** Parameters and constants that some node which is not folded reads as they are. */
function keptWeights(graph: Graph, names: ReadonlyMap<number, string>): ReadonlySet<number> {
  const kept = new Set<number>();
  for (const node of graph.nodes) {
    if (node.type.world !== "activation" || names.has(node.id)) continue;
    for (const input of node.inputs) {
      const kind = graph.nodes[input]?.op.kind;
      if (kind === "param" || kind === "constant") kept.add(input);
    }
  }
  return kept;
}

/** The parameter of a plain layer: `weight` at its second input, `bias` at its third. */
function layerParameter(name: string, graph: Graph, node: Node, position: number): ParamOp {
  const [, weight, bias] = node.inputs.map((id) => graph.nodes[id]?.type.shape ?? []);
  const shape = position === 1 ? weight : bias;
  if (weight === undefined || shape === undefined) {
    throw new RepkitError(
      "internal",
      `${name}: an expression at input ${position} of ${node.op.kind}`,
    );
  }
  const bound = 1 / Math.sqrt(elementCount(weight.slice(1)));
  return {
    kind: "param",
    name: `${name}.${position === 1 ? "weight" : "bias"}`,
    shape,
    role: "param",
    dtype: "f32",
    init: position === 1 ? { kind: "kaimingUniform", a: Math.sqrt(5) } : { kind: "uniform", bound },
    decay: position === 1 ? "kernel" : "bias",
  };
}

function storedTensor(state: StateSource, name: string): Tensor {
  const tensor = state.get(name);
  if (tensor === undefined) throw new RepkitError("usage", `state: no tensor "${name}"`);
  return tensor;
}
