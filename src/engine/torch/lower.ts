/**
 * Turns a graph into the steps that the native executor runs (native/torch/plan.h): what no output needs
 * is left out, sums of batch norms become one step each with their activation, weights are parted from
 * activations, and every value is let go after its last use.
 */
import {
  constantTensor,
  type Graph,
  type Node,
  type OpOf,
  type Tensor,
} from "../../graph/index.js";
import { sumOfKernels } from "./kernel-sum.js";

export interface Plan {
  /** One more than the highest slot; most are ids of the nodes whose values they hold. */
  readonly slots: number;
  /** Per parameter of the graph in state-dict order, its slot; -1 where no output needs it. */
  readonly parameterSlots: readonly number[];
  readonly constants: readonly ({ readonly slot: number } & Tensor)[];
  /** Over parameters alone, once per update. */
  readonly weights: readonly Step[];
  readonly activations: readonly Step[];
  /** Weights that outputs alone need (penalties), after the activations. */
  readonly penalties: readonly Step[];
  /** Computed weights that activations or penalties read. */
  readonly boundaries: readonly number[];
  readonly outputs: readonly {
    readonly name: string;
    readonly slot: number;
    readonly weight: boolean;
  }[];
}

/** The attributes of its op ride along. */
export interface Step {
  readonly kind: string;
  readonly output: number;
  readonly inputs: readonly number[];
  readonly release: readonly number[];
  readonly branches?: readonly Branch[];
  readonly relu?: boolean;
  /** Of a `kernelSum`: how many of its inputs' terms are of each form; separable ones are the rest. */
  readonly denseTerms?: number;
  readonly outerTerms?: number;
}

export type Draft = Omit<Step, "release">;

/** What fusing nodes into one step needs to know and to note. */
export class Lowering {
  readonly constants: ({ readonly slot: number } & Tensor)[] = [];
  /** Nodes whose values exist within a step alone. */
  readonly fused = new Set<number>();
  readonly #graph: Graph;
  readonly #uses: ReadonlyMap<number, number>;
  slots: number;

  constructor(graph: Graph, uses: ReadonlyMap<number, number>) {
    this.#graph = graph;
    this.#uses = uses;
    this.slots = graph.nodes.length;
  }

  node(id: number): Node {
    return this.#graph.nodes[id]!;
  }

  /** True where nothing but one node reads the value. */
  isOwn(id: number): boolean {
    return this.#uses.get(id) === 1;
  }

  /** The slot of a new constant. */
  constant(tensor: Tensor): number {
    this.constants.push({ slot: this.slots, ...tensor });
    return this.slots++;
  }
}

/** One batch norm of a `batchNorms` step; the step's `inputs` are what is added to their sum. */
export interface Branch {
  readonly x: number;
  readonly gamma: number;
  readonly beta: number;
  readonly runningMean: number;
  readonly runningVar: number;
  readonly counter: number;
  readonly eps: number;
  readonly momentum: number;
}

/** Batch norms and residuals that one native step takes (kMaxInputs in native/torch/kernels). */
const MOST_TERMS = 16;

/** `keep`: ids whose values must exist, whatever could be fused over them. */
export function lower(graph: Graph, keep: readonly number[] = []): Plan {
  const wanted = [...graph.outputs.map(({ value }) => value), ...keep];
  const needed = reachable(graph, wanted);
  const lowering = new Lowering(graph, useCounts(graph, needed, wanted));
  const activations: Draft[] = [];
  const weights: Draft[] = [];
  for (const node of graph.nodes.toReversed()) {
    if (!needed.has(node.id) || lowering.fused.has(node.id)) continue;
    const { kind } = node.op;
    if (kind === "param" || kind === "constant") continue;
    if (node.type.world === "weight") weights.push(sumOfKernels(lowering, node) ?? plainStep(node));
    else activations.push(sumOfBatchNorms(lowering, node) ?? plainStep(node));
  }
  const parameters = graph.nodes.filter(({ op }) => op.kind === "param");
  const activationIds = graph.nodes.filter(({ id }) => isActivation(graph, id) && needed.has(id));
  const early = reachable(
    graph,
    activationIds.map(({ id }) => id),
  );
  weights.reverse();
  const penalties = weights.filter(({ output }) => !early.has(output));
  const readLater = new Set([...activations, ...penalties].flatMap(allReadsOf));
  return {
    slots: lowering.slots,
    parameterSlots: parameters.map(({ id }) => (needed.has(id) ? id : -1)),
    constants: [...constantsOf(graph, needed), ...lowering.constants],
    weights: releasing(
      weights.filter(({ output }) => early.has(output)),
      new Set(),
    ),
    activations: releasing(activations.reverse(), new Set(wanted), (slot) =>
      isActivation(graph, slot),
    ),
    penalties: releasing(penalties, new Set()),
    boundaries: weights
      .map(({ output }) => output)
      .filter((slot) => early.has(slot) && readLater.has(slot)),
    outputs: graph.outputs.map(({ name, value }) => ({
      name,
      slot: value,
      weight: !isActivation(graph, value),
    })),
  };
}

function plainStep({ id, op, inputs }: Node): Draft {
  return { ...op, output: id, inputs };
}

/**
 * act(sum of batch norms + residuals), grown upwards from its last node through values that nothing
 * else reads. Undefined where no batch norm ends here.
 */
function sumOfBatchNorms(lowering: Lowering, root: Node): Draft | undefined {
  const swallowed: number[] = [];
  let top = root;
  if (root.op.kind === "relu" && lowering.isOwn(root.inputs[0]!)) {
    top = lowering.node(root.inputs[0]!);
    swallowed.push(top.id);
  }
  const common = { kind: "batchNorms", output: root.id, relu: top !== root };
  if (top.op.kind === "batchNorm") {
    lowering.fused.add(top.id);
    return { ...common, inputs: [], branches: [branchOf(top, top.op)], ...{ padding: top.op.pad } };
  }
  if (top.op.kind !== "add" || top.type.world !== "activation") return undefined;
  const branches: Branch[] = [];
  const residuals: number[] = [];
  const grow = (sum: Node) => {
    for (const input of sum.inputs) {
      const term = lowering.node(input);
      if (lowering.isOwn(input) && term.op.kind === "add") {
        swallowed.push(input);
        grow(term);
      } else if (lowering.isOwn(input) && term.op.kind === "batchNorm" && !isPadded(term.op)) {
        swallowed.push(input);
        branches.push(branchOf(term, term.op));
      } else {
        residuals.push(input);
      }
    }
  };
  grow(top);
  if (branches.length === 0 || branches.length + residuals.length > MOST_TERMS) return undefined;
  for (const id of swallowed) lowering.fused.add(id);
  return { ...common, inputs: residuals, branches };
}

function branchOf({ inputs }: Node, { eps, momentum }: OpOf<"batchNorm">): Branch {
  const [x = -1, gamma = -1, beta = -1, runningMean = -1, runningVar = -1, counter = -1] = inputs;
  return { x, gamma, beta, runningMean, runningVar, counter, eps, momentum };
}

function isPadded({ pad }: OpOf<"batchNorm">): boolean {
  return pad.some((side) => side !== 0);
}

/** Gives each step the slots that no later step reads. */
function releasing(
  steps: readonly Draft[],
  kept: ReadonlySet<number>,
  isReleased: (slot: number) => boolean = () => false,
): Step[] {
  const seen = new Set(kept);
  const result: Step[] = [];
  for (const step of steps.toReversed()) {
    const release = [...new Set(readsOf(step))].filter(
      (slot) => !seen.has(slot) && isReleased(slot),
    );
    for (const slot of release) seen.add(slot);
    result.push({ ...step, release });
  }
  return result.reverse();
}

function readsOf({ inputs, branches = [] }: Draft): readonly number[] {
  return [...inputs, ...branches.map(({ x }) => x)];
}

function allReadsOf({ inputs, branches = [] }: Draft): readonly number[] {
  const weights = branches.flatMap((one) => [one.gamma, one.beta, one.runningMean, one.runningVar]);
  return [...inputs, ...branches.map(({ x }) => x), ...weights];
}

function reachable(graph: Graph, wanted: readonly number[]): ReadonlySet<number> {
  const needed = new Set(wanted);
  for (const node of graph.nodes.toReversed()) {
    if (needed.has(node.id)) for (const input of node.inputs) needed.add(input);
  }
  return needed;
}

/** How often each value is read; what the outside wants counts once more. */
function useCounts(
  graph: Graph,
  needed: ReadonlySet<number>,
  wanted: readonly number[],
): ReadonlyMap<number, number> {
  const uses = new Map<number, number>();
  const count = (id: number) => uses.set(id, (uses.get(id) ?? 0) + 1);
  for (const node of graph.nodes) if (needed.has(node.id)) node.inputs.forEach(count);
  // Twice, so that a value that is wanted and read once is nobody's own.
  for (const id of wanted) for (let time = 0; time < 2; time++) count(id);
  return uses;
}

function constantsOf(graph: Graph, needed: ReadonlySet<number>): Plan["constants"] {
  return graph.nodes.flatMap(({ id, op }) =>
    op.kind === "constant" && needed.has(id)
      ? [{ slot: id, ...constantTensor(op.shape, op.fill) }]
      : [],
  );
}

function isActivation(graph: Graph, slot: number): boolean {
  return graph.nodes[slot]?.type.world === "activation";
}
