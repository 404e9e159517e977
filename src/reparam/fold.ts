/**
 * Folding: the rules applied to a graph until nothing changes. It is symbolic, so it needs no weights:
 * the folded convolutions' weights are expressions over the original parameters. Evaluated they are
 * the deployed weights (materialise.ts); left in the graph they are the differentiable equivalent
 * kernel and bias (equivalent.ts).
 */
import { elementCount, formatShape, type Graph, type Node, nodeMacs } from "../graph/index.js";
import type { Rule } from "./rule.js";
import { rules as allRules } from "./rules/index.js";
import { asOp, WorkGraph, type WorkNode } from "./workgraph.js";

export interface FoldOptions {
  /** The outputs to keep (deployment drops auxiliary heads). Default: all. */
  readonly outputs?: readonly string[];
  /**
   * How many times the operations of what it replaces a convolution may cost, outside of blocks that
   * are meant to be folded. Fewer passes over memory make up for some. Default: 2.
   */
  readonly maxCostRatio?: number;
  readonly rules?: readonly Rule[];
}

/** Something that became one convolution. */
export interface FoldedGroup {
  /** Name of the node whose value the convolution now computes. */
  readonly output: string;
  /** Position of the convolution in the folded graph. */
  readonly convolution: number;
  /** Positions in the original graph of the activation nodes that it replaces. */
  readonly replaced: readonly number[];
  /** `(64,64,3,3)` */
  readonly kernel: string;
  /** Names of the rules, in the order in which they were first applied. */
  readonly rules: readonly string[];
}

/** A rule that did not apply to a node of the folded graph that one might expect it to fold. */
export interface Refusal {
  readonly output: string;
  readonly rule: string;
  readonly reason: string;
}

export interface FoldedGraph {
  readonly graph: Graph;
  readonly groups: readonly FoldedGroup[];
  readonly refused: readonly Refusal[];
}

/** Folds whatever can be folded exactly. The original graph is not touched. */
export function foldGraph(graph: Graph, options: FoldOptions = {}): FoldedGraph {
  const { rules = allRules, maxCostRatio = 2 } = options;
  const blocked = new Blocked();
  for (;;) {
    const work = new WorkGraph(graph, options.outputs);
    rewriteToFixedPoint(work, rules, blocked);
    const before = blocked.size;
    takeBack(graph, work, rules, maxCostRatio, blocked);
    if (blocked.size === before) return finish(work, rules, blocked);
  }
}

/** Why a preparatory firing is not repeated; nothing that anyone needs to be told. */
const NOTHING_TO_JOIN = "nothing to join it with";

/** Firings that are not to happen again, with the reason; by rule and original node. */
class Blocked {
  readonly #reasons = new Map<string, string>();

  get size(): number {
    return this.#reasons.size;
  }

  add(rule: string, position: number, reason: string): void {
    this.#reasons.set(`${rule} @ ${position}`, reason);
  }

  reason(rule: string, position: number): string | undefined {
    return this.#reasons.get(`${rule} @ ${position}`);
  }
}

function rewriteToFixedPoint(work: WorkGraph, rules: readonly Rule[], blocked: Blocked): void {
  for (let changed = true; changed;) {
    changed = false;
    for (const seen of work.nodes()) {
      const node = work.current(seen);
      if (node === undefined || node.type.world !== "activation") continue;
      changed = applyFirst(work, node, rules, blocked) || changed;
    }
  }
}

function applyFirst(
  work: WorkGraph,
  node: WorkNode,
  rules: readonly Rule[],
  blocked: Blocked,
): boolean {
  for (const rule of rules) {
    if (!rule.roots.includes(node.op.kind)) continue;
    if (blocked.reason(rule.name, node.position) !== undefined) continue;
    const verdict = rule.look(work, node);
    if (verdict === undefined || "declined" in verdict) continue;
    work.replace(node, verdict.rewrite());
    return true;
  }
  return false;
}

/**
 * Blocks the firings that led to nothing (a pooling written as a convolution that then met no other)
 * and those that made something dearer than what was there.
 */
function takeBack(
  graph: Graph,
  work: WorkGraph,
  rules: readonly Rule[],
  maxCostRatio: number,
  blocked: Blocked,
): void {
  const preparatory = new Set(rules.filter((rule) => rule.preparatory).map(({ name }) => name));
  for (const node of work.nodes()) {
    if (node.op.kind !== "conv2d" || node.steps.length === 0) continue;
    if (node.steps.every(({ rule }) => preparatory.has(rule))) {
      for (const { rule, position } of node.steps) blocked.add(rule, position, NOTHING_TO_JOIN);
      continue;
    }
    if (node.foldName !== undefined) continue;
    const before = [...node.covers].reduce(
      (sum, id) => sum + operations(graph, graph.nodes[id]),
      0,
    );
    const after = convolutionOperations(work, node);
    if (after <= maxCostRatio * before) continue;
    const last = node.steps.findLast(({ rule }) => !rule.startsWith("I "));
    if (last === undefined) continue;
    // Without its preparation a rule still joins what needs none.
    const preparation = node.steps.filter(
      ({ rule, position }) => preparatory.has(rule) && position === last.position,
    );
    for (const { rule, position } of preparation.length > 0 ? preparation : [last]) {
      blocked.add(
        rule,
        position,
        `one convolution would take ${after} operations an image instead of ${before}`,
      );
    }
  }
}

/** Multiply-adds of convolutions; for the rest, one operation per value read. */
function operations(graph: Graph, node: Node | undefined): number {
  if (node === undefined) return 0;
  const { op } = node;
  const size = elementCount(node.type.shape);
  if (op.kind === "avgPool" || op.kind === "maxPool") return size * op.kernel[0] * op.kernel[1];
  if (op.kind === "conv2d" || op.kind === "linear") return nodeMacs(graph, node);
  const read = node.inputs.filter((input) => graph.nodes[input]?.type.world === "activation");
  return size * read.length;
}

function convolutionOperations(work: WorkGraph, node: WorkNode): number {
  const kernel = work.input(node, 1);
  return elementCount(node.type.shape) * elementCount(kernel.type.shape.slice(1));
}

function finish(work: WorkGraph, rules: readonly Rule[], blocked: Blocked): FoldedGraph {
  const live = work.nodes();
  const groups: FoldedGroup[] = [];
  const refused: Refusal[] = [];
  for (const [position, node] of live.entries()) {
    if (node.type.world !== "activation") continue;
    if (asOp(node, "conv2d") !== undefined && node.steps.length > 0) {
      groups.push({
        output: node.name,
        convolution: position,
        replaced: [...node.covers].sort((a, b) => a - b),
        kernel: formatShape(work.input(node, 1).type.shape),
        rules: [...new Set(node.steps.map(({ rule }) => rule))],
      });
    }
    refused.push(...refusals(work, node, rules, blocked));
  }
  return { graph: work.build(), groups, refused };
}

function refusals(
  work: WorkGraph,
  node: WorkNode,
  rules: readonly Rule[],
  blocked: Blocked,
): readonly Refusal[] {
  return rules.flatMap((rule) => {
    if (!rule.roots.includes(node.op.kind)) return [];
    const output = node.name;
    const taken = blocked.reason(rule.name, node.position);
    if (taken === NOTHING_TO_JOIN) return [];
    if (taken !== undefined) return [{ output, rule: rule.name, reason: taken }];
    const verdict = rule.look(work, node);
    if (verdict === undefined || "rewrite" in verdict) return [];
    return [{ output, rule: rule.name, reason: verdict.declined }];
  });
}
