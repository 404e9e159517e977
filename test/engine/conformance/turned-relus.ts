// ReLUs that rounding turns around, and the gradients that they spoil.

import type { Executable } from "../../../src/engine/types.js";
import { constantTensor, type Graph, type Tensor } from "../../../src/graph/index.js";
import { filledState } from "../../helpers/fill.js";
import { load, type Subject } from "./subject.js";

/**
 * What one of them does to all gradients before it, as a share of their norm: 0.1 to 4 % by the
 * reference's README. Whether it happens is luck: with one thread PyTorch 1.13 itself is off by 0.2 %
 * in the first recorded step of RepVGG-A0, with two by 0.0005 %.
 */
export const TURNED = 0.04;

/**
 * Names of the parameters whose gradients pass a ReLU that is open for some value in the subject's
 * precision and closed in fp64, or the other way round.
 */
export async function spoiltParameters(
  subject: Subject,
  graph: Graph,
  images: Tensor,
): Promise<ReadonlySet<string>> {
  const relus = graph.nodes.filter(({ op }) => op.kind === "relu").map(({ id }) => id);
  const { exactEngine: engine = subject.engine } = subject;
  const own = await masks(subject, graph, relus, images);
  const exact = await masks({ engine, precision: "fp64" }, graph, relus, images);
  const turned = relus.filter((_, i) => !Buffer.from(own[i]!).equals(exact[i]!));
  return parametersBefore(graph, turned);
}

/** 1 where a ReLU is open, in training mode. */
async function masks(
  subject: Subject,
  { nodes, outputs }: Graph,
  relus: readonly number[],
  images: Tensor,
): Promise<readonly Uint8Array[]> {
  const main = outputs[0]!;
  const shown = relus.map((value) => ({ name: `relu ${value}`, value }));
  const graph = { nodes, outputs: [main, ...shown] };
  const network: Executable = await load(subject, graph, filledState(graph));
  // Asks for no gradient of interest, but for a pass in training mode.
  const shape = [images.shape[0]!, ...nodes[main.value]!.type.shape];
  const outputGradient = constantTensor(shape, { kind: "constant", value: 0 });
  const found = await network.differentiate(images, { outputGradient });
  await network.dispose();
  return shown.map(({ name }) =>
    Uint8Array.from(found.outputs.get(name)!.data as Float64Array, (value) => (value > 0 ? 1 : 0)),
  );
}

/** Parameters that any of the nodes depends on. */
function parametersBefore({ nodes }: Graph, ids: readonly number[]): ReadonlySet<string> {
  const reached = new Set(ids);
  const names = new Set<string>();
  for (const { id, op, inputs } of nodes.toReversed()) {
    if (!reached.has(id)) continue;
    if (op.kind === "param") names.add(op.name);
    for (const input of inputs) reached.add(input);
  }
  return names;
}
