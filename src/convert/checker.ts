/**
 * Checks groups as they are folded, each for itself, and runs the whole networks before and after as far as their
 * tensors have come: no more of the weights need be in memory than a few groups'.
 */
import type { Graph, OpOf, StateSource } from "../graph/index.js";
import { checkGroup, type GroupCheck } from "../reparam/index.js";
import { FollowingRun } from "./following-run.js";
import type { FoldedGroup } from "./groups.js";

/** What is known of a group before it is folded. */
export interface PlannedGroup {
  /** Positions of the replaced nodes in the original graph, ascending. */
  readonly replaced: readonly number[];
  readonly conv: OpOf<"conv2d">;
  /** Position of the convolution in the deployed graph. */
  readonly deployed: number;
  readonly sourceNames: ReadonlySet<string>;
  readonly madeNames: readonly string[];
}

export interface CheckJob {
  readonly original: Graph;
  readonly deployed: Graph;
  readonly groups: readonly PlannedGroup[];
  /** Tensors that belong to no group, of the network before and after. */
  readonly beside: { readonly original: StateSource; readonly deployed: StateSource };
}

export interface GroupResult {
  readonly index: number;
  readonly check: GroupCheck;
}

/** What the networks make of the test image. */
export interface Logits {
  readonly before: Float64Array;
  readonly after: Float64Array;
}

export class Checker {
  readonly #job: CheckJob;
  readonly #before: FollowingRun;
  readonly #after: FollowingRun;
  #open: FoldedGroup[] = [];

  constructor(job: CheckJob) {
    const { original, deployed, groups, beside } = job;
    this.#job = job;
    const sourceNames = groups.flatMap((group) => [...group.sourceNames]);
    const madeNames = groups.flatMap((group) => group.madeNames);
    this.#before = new FollowingRun(original, sourceNames, beside.original);
    this.#after = new FollowingRun(deployed, madeNames, beside.deployed);
  }

  /** Checks a group. `done` are those whose tensors are not needed any more, this one or earlier ones. */
  check(group: FoldedGroup): {
    readonly result: GroupResult;
    readonly done: readonly FoldedGroup[];
  } {
    const { index, source, state, made } = group;
    const { replaced, conv, madeNames } = this.#job.groups[index]!;
    const [weight, bias] = madeNames.map((name) => made.get(name));
    const check = checkGroup(this.#job.original, state, {
      ...{ replaced, conv, weight: weight!, bias },
    });
    this.#before.offer(source);
    this.#after.offer(made);
    this.#open.push(group);
    const done = this.#open.filter((each) => this.#isDone(each));
    this.#open = this.#open.filter((each) => !done.includes(each));
    return { result: { index, check }, done };
  }

  #isDone({ index, source, made }: FoldedGroup): boolean {
    const { replaced, deployed } = this.#job.groups[index]!;
    if (!this.#before.hasPassed(replaced.at(-1)!) || !this.#after.hasPassed(deployed)) return false;
    this.#before.forget(source.keys());
    this.#after.forget(made.keys());
    return true;
  }

  /** After the last group. */
  logits(): Logits {
    return { before: this.#before.logits(), after: this.#after.logits() };
  }
}
