/**
 * What a rewrite rule is. It looks at one node, and either does not concern it, or declines with a
 * reason, or offers a rewrite. Looking changes nothing, so the same rules explain and fold.
 */
import type { OpKind } from "../graph/index.js";
import type { WorkGraph, WorkNode } from "./workgraph.js";

export type Verdict =
  /** The rule has nothing to do with this node. */
  | undefined
  /** It has, but a precondition fails. */
  | { readonly declined: string }
  /** It applies; calling it adds the replacement's nodes and returns the one that takes the place. */
  | { readonly rewrite: () => WorkNode };

export interface Rule {
  /** The paper's numeral and what is folded: `II parallel convolutions`. */
  readonly name: string;
  readonly roots: readonly OpKind[];
  /**
   * True for a rule that only brings a node into the form that others fold (a pooling as a
   * convolution): what it made is taken back where nothing came of it.
   */
  readonly preparatory?: boolean;
  look(graph: WorkGraph, node: WorkNode): Verdict;
}

export function declined(reason: string): Verdict {
  return { declined: reason };
}

/**
 * The precondition that all rules share: what is absorbed has no other user and is not a block of
 * its own. Returns the reason against it.
 */
export function notAbsorbable(
  graph: WorkGraph,
  inner: WorkNode,
  user: WorkNode,
): string | undefined {
  if (!graph.usedOnlyBy(inner, user)) return `${describe(inner)} has another user`;
  if (inner.foldName !== undefined) return `${describe(inner)} is the output of another block`;
  return undefined;
}

/** `relu "stage0.relu"` */
export function describe(node: WorkNode): string {
  return `${node.op.kind} "${node.name}"`;
}
