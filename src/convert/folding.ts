/** Folds the groups of a model, one after the other, each checked and written before much more is read. */
import type { Graph, StateSource, Tensor } from "../graph/index.js";
import type { FoldedConvolution, FoldedGraph } from "../reparam/index.js";
import { recycle } from "../util/spare-memory.js";
import { type CheckJob, Checker, type GroupResult, type Logits } from "./checker.js";
import { GroupFolder, tensorsOf } from "./groups.js";

export interface FoldingOptions {
  readonly original: Graph;
  readonly folded: FoldedGraph;
  readonly deployed: Graph;
  readonly state: StateSource;
  /** Whether to run what is folded, and the whole networks, before and after. */
  readonly verify: boolean;
  /** Called once with every tensor of the deployed model, whose memory is used again afterwards. */
  readonly write: (name: string, tensor: Tensor) => void;
  /** Called with the groups done and all of them. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface Folding {
  readonly convolutions: readonly FoldedConvolution[];
  /** Undefined where nothing was to be checked. */
  readonly checked:
    { readonly results: readonly GroupResult[]; readonly logits: Logits } | undefined;
}

const TURN = 30; // ms

export async function foldGroups(options: FoldingOptions): Promise<Folding> {
  const { original, folded, state, verify, write, onProgress } = options;
  const folder = new GroupFolder(original, folded, state);
  const others = folder.others();
  const checker = verify ? new Checker(checkJob(options, folder, others)) : undefined;
  const results: GroupResult[] = [];

  const ends = folded.groups.map(({ replaced }) => replaced.at(-1)!);
  // As the networks run, so that their checks never wait for long.
  const order = [...ends.keys()].sort((a, b) => ends[a]! - ends[b]!);
  let turned = performance.now();
  for (const [position, index] of order.entries()) {
    const group = folder.fold(index);
    for (const [name, tensor] of group.made) write(name, tensor);
    const checked = checker?.check(group);
    if (checked !== undefined) results.push(checked.result);
    for (const { data } of (checked?.done ?? [group]).flatMap(tensorsOf)) recycle(data);
    onProgress?.(position + 1, order.length);
    if (performance.now() - turned < TURN) continue;
    // Signals and progress get their turn.
    await new Promise((resolve) => setImmediate(resolve));
    turned = performance.now();
  }
  for (const [name, tensor] of others) write(name, tensor);
  const { convolutions } = folder;
  return { convolutions, checked: checker && { results, logits: checker.logits() } };
}

/** `others`: the deployed model's tensors that come of no group. */
export function checkJob(
  {
    original,
    folded,
    deployed,
    state,
  }: Pick<FoldingOptions, "original" | "folded" | "deployed" | "state">,
  { convolutions, sourceNames, madeNames }: GroupFolder,
  others: ReadonlyMap<string, Tensor>,
): CheckJob {
  return {
    ...{ original, deployed },
    groups: folded.groups.map(({ replaced }, index) => ({
      ...{ replaced, conv: convolutions[index]!.op },
      deployed: readerOf(deployed, madeNames[index]![0]!),
      sourceNames: sourceNames[index]!,
      madeNames: madeNames[index]!,
    })),
    beside: { original: state, deployed: others },
  };
}

/** Position of the node that reads a parameter. */
function readerOf({ nodes }: Graph, name: string): number {
  const parameter = nodes.findIndex(({ op }) => op.kind === "param" && op.name === name);
  return nodes.findIndex(({ inputs }) => inputs.includes(parameter));
}
