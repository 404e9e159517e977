/** Where a deployed model's layers stand in the training structure of block `base`. */
import { isDeepStrictEqual } from "node:util";

import { describeIdentity } from "../checkpoint/index.js";
import { usageError } from "../errors.js";
import type { Node } from "../graph/index.js";
import { buildModel, type Model } from "../zoo/index.js";

export interface BasePairing {
  readonly model: Model;
  /** In order of execution: a deployed convolution, and the batch norm that takes over its bias. */
  readonly norms: readonly { readonly deployed: Node; readonly norm: Node }[];
  /** Parameters of the base model, and those of the deployed model that they are. */
  readonly kept: ReadonlyMap<string, string>;
  /** Outputs that only the training structure has. */
  readonly fresh: readonly string[];
}

/**
 * Walks both graphs from their outputs up: they are the same, but for batch norms where the deployed
 * model has biases.
 * @throws RepkitError "usage" where they are not; `path` is the deployed model's file
 */
export function pairWithBase(deployed: Model, path: string): BasePairing {
  const { arch, block, structure, numClasses, imageSize } = deployed;
  if (structure !== "deploy") {
    throw usageError(
      `--insert-bn: ${path} is ${describeIdentity(deployed)}, which has its batch norms; ` +
        "leave --insert-bn out, or convert it first",
    );
  }
  const model = buildModel({ arch, block: "base", numClasses, imageSize });
  const norms: { deployed: Node; norm: Node }[] = [];
  const kept = new Map<string, string>();
  const seen = new Map<number, number>();
  const outputs = new Map(model.graph.outputs.map(({ name, value }) => [name, value]));
  const open = deployed.graph.outputs.map(
    ({ name, value }) => [value, outputs.get(name)!] as const,
  );
  for (let pair = open.pop(); pair !== undefined; pair = open.pop()) {
    const here = deployed.graph.nodes[pair[0]]!;
    const there = model.graph.nodes[pair[1]]!;
    if (seen.get(here.id) === there.id) continue;
    seen.set(here.id, there.id);
    let [inputs, base] = [here.inputs, there];
    if (here.op.kind === "conv2d" && there.op.kind === "batchNorm") {
      norms.push({ deployed: here, norm: there });
      base = model.graph.nodes[there.inputs[0]!]!;
      inputs = inputs.slice(0, 2);
    }
    const parameters =
      here.op.kind === "param" && base.op.kind === "param"
        ? ([base.op.name, here.op.name] as const)
        : undefined;
    const isSame =
      isDeepStrictEqual(here.type, base.type) &&
      inputs.length === base.inputs.length &&
      (parameters !== undefined || isDeepStrictEqual(here.op, base.op));
    if (!isSame) {
      throw usageError(
        `--insert-bn: ${path} is ${arch} x ${block}, which has ${here.op.kind} at ${here.name} ` +
          `where ${arch} x base has ${base.op.kind}; train its training structure instead`,
      );
    }
    if (parameters !== undefined) kept.set(...parameters);
    for (const [position, input] of inputs.entries()) open.push([input, base.inputs[position]!]);
  }
  const known = new Set(deployed.graph.outputs.map(({ name }) => name));
  const fresh = model.graph.outputs.map(({ name }) => name).filter((name) => !known.has(name));
  return { model, norms: norms.sort((a, b) => a.deployed.id - b.deployed.id), kept, fresh };
}
