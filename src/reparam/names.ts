/** What layers are called whose weights have been computed. */
import type { Graph, Node } from "../graph/index.js";

/** Of each group: the folded convolution, and the nodes of the original graph that it replaces. */
export type Groups = readonly {
  readonly convolution: number;
  readonly replaced: readonly number[];
}[];

/**
 * The name of each folded convolution, by its position in the folded graph: its block's own, or that
 * of the only convolution in it, or `<common scope>.reparam`; numbered where that is taken.
 */
export function convolutionNames(
  original: Graph,
  folded: Graph,
  groups: Groups,
): ReadonlyMap<number, string> {
  const isFolded = new Set(groups.map(({ convolution }) => convolution));
  const taken = new Set(
    folded.nodes.flatMap((node) => (isFolded.has(node.id) ? [] : ownLayers(folded, node))),
  );
  const names = new Map<number, string>();
  for (const { convolution, replaced } of groups) {
    const wanted = folded.nodes[convolution]?.foldName ?? derivedName(original, replaced);
    names.set(convolution, claim(wanted, taken));
  }
  return names;
}

/**
 * The same for the layers that are not folded but read weight expressions, which become parameters
 * of theirs: their own names, numbered where they are taken.
 */
export function expressionNames(
  folded: Graph,
  convolutions: ReadonlyMap<number, string>,
): ReadonlyMap<number, string> {
  const rest = folded.nodes.filter(
    ({ id, type }) => type.world === "activation" && !convolutions.has(id),
  );
  const isExpression = (id: number) => {
    const input = folded.nodes[id]!;
    return (
      input.type.world === "weight" && input.op.kind !== "param" && input.op.kind !== "constant"
    );
  };
  const others = rest.filter(({ inputs }) => !inputs.some(isExpression));
  const taken = new Set([
    ...convolutions.values(),
    ...others.flatMap((node) => ownLayers(folded, node)),
  ]);
  const names = new Map<number, string>();
  for (const node of rest) {
    if (node.inputs.some(isExpression)) names.set(node.id, claim(node.name, taken));
  }
  return names;
}

/** The wanted name, with the first number from 2 that makes it a new one. */
function claim(wanted: string, taken: Set<string>): string {
  let name = wanted;
  for (let number = 2; taken.has(name); number++) name = `${wanted}_${number}`;
  taken.add(name);
  return name;
}

/** The layers whose `<name>.weight` or `<name>.bias` the node reads as it is. */
function ownLayers(graph: Graph, node: Node): readonly string[] {
  if (node.type.world !== "activation") return [];
  return node.inputs.flatMap((id) => {
    const op = graph.nodes[id]?.op;
    const match = op?.kind === "param" ? /^(.*)\.(?:weight|bias)$/s.exec(op.name) : null;
    return match?.[1] === undefined ? [] : [match[1]];
  });
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
