/** What folded convolutions are called. */
import type { Graph } from "../graph/index.js";
import type { Groups } from "./materialise.js";

/**
 * The name of each folded convolution, by its position in the folded graph: its block's own, or that
 * of the only convolution in it, or `<common scope>.reparam`; numbered where that is taken.
 */
export function convolutionNames(
  original: Graph,
  folded: Graph,
  groups: Groups,
): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  const taken = new Set<string>();
  for (const { convolution, replaced } of groups) {
    const wanted = folded.nodes[convolution]?.foldName ?? derivedName(original, replaced);
    let name = wanted;
    for (let number = 2; taken.has(name); number++) name = `${wanted}_${number}`;
    taken.add(name);
    names.set(convolution, name);
  }
  return names;
}

function derivedName(graph: Graph, replaced: readonly number[]): string {
  const nodes = replaced.flatMap((id) => graph.nodes[id] ?? []);
  const convolutions = nodes.filter(({ op }) => op.kind === "conv2d");
  const [only] = convolutions;
  if (convolutions.length === 1 && only !== undefined) {
    const weight = graph.nodes[only.inputs[1] ?? -1]?.op;
    const isOwn = weight?.kind === "param" && weight.name.endsWith(".weight");
    return isOwn ? weight.name.slice(0, -".weight".length) : only.name;
  }
  const scope = commonScope(nodes.map(({ name }) => name));
  return scope === "" ? "reparam" : `${scope}.reparam`;
}

/** The longest chain of scopes that all names share, not counting their last parts. */
function commonScope(names: readonly string[]): string {
  const paths = names.map((name) => name.split(".").slice(0, -1));
  const [first = []] = paths;
  const differs = first.findIndex((part, depth) => paths.some((path) => path[depth] !== part));
  return (differs < 0 ? first : first.slice(0, differs)).join(".");
}
