/**
 * A graph under rewriting: nodes that can be added and replaced, and who uses whom. Rules see this;
 * everyone else sees immutable graphs.
 */
import { RepkitError } from "../errors.js";
import {
  type Graph,
  inferType,
  type Node,
  type Op,
  type OpKind,
  type OpOf,
  type ValueType,
} from "../graph/index.js";

/** One application of a rule, at the original node of that id. */
export interface Step {
  readonly rule: string;
  readonly position: number;
}

export interface WorkNode<O extends Op = Op> {
  readonly id: number;
  readonly op: O;
  /** Ids of other nodes. */
  readonly inputs: readonly number[];
  readonly type: ValueType;
  readonly name: string;
  /** See `Node.foldName`: the boundary of a block, which no rule reaches across. */
  readonly foldName: string | undefined;
  /** The firings that made this node, in order. */
  readonly steps: readonly Step[];
  /** Ids of the original activation nodes that this one stands for. */
  readonly covers: ReadonlySet<number>;
  /** Id of the original node in whose place it stands; it makes the final order. */
  readonly position: number;
}

/** The user that stands for "an output of the graph". */
const OUTPUT = -1;

export class WorkGraph {
  readonly #nodes = new Map<number, WorkNode>();
  /** The ids of each node's users, one entry per use. */
  readonly #users = new Map<number, number[]>();
  readonly #outputs: { readonly name: string; value: number }[];
  #nextId: number;

  /** `outputs`: names of the outputs to keep; without it, all. */
  constructor(graph: Graph, outputs?: readonly string[]) {
    this.#nextId = graph.nodes.length;
    this.#outputs = graph.outputs
      .filter(({ name }) => outputs?.includes(name) ?? true)
      .map(({ name, value }) => ({ name, value }));
    const live = reachable(
      graph,
      this.#outputs.map(({ value }) => value),
    );
    for (const node of graph.nodes) if (live.has(node.id)) this.#insert(fromNode(node));
    for (const { value } of this.#outputs) this.#use(value, OUTPUT);
  }

  /**
   * Live nodes, inputs before their users, else in the order of the original nodes in whose place
   * they stand. Age does not order those of one place: what replaces an operand is younger than
   * the sum that uses it.
   */
  nodes(): readonly WorkNode[] {
    const ordered = new Set<WorkNode>();
    const place = (node: WorkNode) => {
      if (ordered.has(node)) return;
      for (const input of node.inputs) {
        const before = this.node(input);
        if (before.position === node.position) place(before);
      }
      ordered.add(node);
    };
    const byPlace = [...this.#nodes.values()].sort(
      (a, b) => a.position - b.position || a.id - b.id,
    );
    byPlace.forEach(place);
    return [...ordered];
  }

  node(id: number): WorkNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new RepkitError("internal", `node ${id} is not in the graph`);
    return node;
  }

  /** The node as it is now, or undefined where it has been replaced. */
  current(node: WorkNode): WorkNode | undefined {
    return this.#nodes.get(node.id);
  }

  input(node: WorkNode, position: number): WorkNode {
    return this.node(node.inputs[position] ?? Number.NaN);
  }

  inputs(node: WorkNode): readonly WorkNode[] {
    return node.inputs.map((input) => this.node(input));
  }

  /** How many inputs and outputs use the value. */
  useCount(node: WorkNode): number {
    return this.#users.get(node.id)?.length ?? 0;
  }

  /** True where `user` alone uses the value, perhaps more than once. */
  usedOnlyBy(node: WorkNode, user: WorkNode): boolean {
    return (this.#users.get(node.id) ?? []).every((id) => id === user.id);
  }

  /** Adds a node in the place of `root`. Throws GraphError where the op does not accept its inputs. */
  add<O extends Op>(
    root: WorkNode,
    op: O,
    inputs: readonly WorkNode[],
    labels: Partial<Pick<WorkNode, "name" | "foldName" | "steps" | "covers">> = {},
  ): WorkNode<O> {
    const node: WorkNode<O> = {
      id: this.#nextId++,
      op,
      inputs: inputs.map(({ id }) => id),
      type: inferType(
        op,
        inputs.map(({ type }) => type),
      ),
      name: labels.name ?? root.name,
      foldName: labels.foldName,
      steps: labels.steps ?? [],
      covers: labels.covers ?? new Set(),
      position: root.position,
    };
    this.#insert(node);
    return node;
  }

  /** Lets every user of `before` use `after`, and drops what nothing uses any more. */
  replace(before: WorkNode, after: WorkNode): void {
    const users = this.#users.get(before.id) ?? [];
    this.#users.set(before.id, []);
    for (const user of users) this.#use(after.id, user);
    for (const user of new Set(users)) {
      const node = this.#nodes.get(user);
      if (node === undefined) continue;
      const inputs = node.inputs.map((input) => (input === before.id ? after.id : input));
      this.#nodes.set(user, { ...node, inputs });
    }
    for (const output of this.#outputs) if (output.value === before.id) output.value = after.id;
    this.#drop(before.id);
  }

  /** The graph as it is now. */
  build(): Graph {
    const ids = new Map<number, number>();
    const at = (id: number) => {
      const position = ids.get(id);
      if (position === undefined) throw new RepkitError("internal", `node ${id} comes too late`);
      return position;
    };
    const nodes = this.nodes().map((node, id): Node => {
      const inputs = node.inputs.map(at);
      ids.set(node.id, id);
      const { op, type, name, foldName, steps } = node;
      const rules = [...new Set(steps.map(({ rule }) => rule))];
      return {
        ...{ id, op, inputs, type, name },
        ...(foldName === undefined ? {} : { foldName }),
        ...(rules.length === 0 ? {} : { rules }),
      };
    });
    return { nodes, outputs: this.#outputs.map(({ name, value }) => ({ name, value: at(value) })) };
  }

  #insert(node: WorkNode): void {
    this.#nodes.set(node.id, node);
    for (const input of node.inputs) this.#use(input, node.id);
  }

  #use(id: number, user: number): void {
    const users = this.#users.get(id);
    if (users === undefined) this.#users.set(id, [user]);
    else users.push(user);
  }

  #drop(id: number): void {
    const node = this.#nodes.get(id);
    if (node === undefined || (this.#users.get(id) ?? []).length > 0) return;
    this.#nodes.delete(id);
    this.#users.delete(id);
    for (const input of new Set(node.inputs)) {
      const users = this.#users.get(input);
      if (users === undefined) continue;
      this.#users.set(
        input,
        users.filter((user) => user !== id),
      );
      this.#drop(input);
    }
  }
}

/** The node seen as one of a certain op, or undefined. */
export function asOp<K extends OpKind>(node: WorkNode, kind: K): WorkNode<OpOf<K>> | undefined {
  return node.op.kind === kind ? (node as WorkNode<OpOf<K>>) : undefined;
}

function fromNode(node: Node): WorkNode {
  const { id, op, inputs, type, name, foldName, rules = [] } = node;
  const covers = new Set(type.world === "activation" ? [id] : []);
  const steps = rules.map((rule) => ({ rule, position: id }));
  return { id, op, inputs, type, name, foldName, steps, covers, position: id };
}

function reachable(graph: Graph, from: readonly number[]): ReadonlySet<number> {
  const seen = new Set<number>();
  const open = [...from];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (seen.has(id)) continue;
    seen.add(id);
    open.push(...(graph.nodes[id]?.inputs ?? []));
  }
  return seen;
}
