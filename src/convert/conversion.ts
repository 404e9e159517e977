/** What `convert` does once its threads are starting. */
import { statSync } from "node:fs";

import {
  loadCheckpoint,
  type LoadedCheckpoint,
  type LoadOptions,
  outputContainer,
  saveCheckpoint,
} from "../checkpoint/index.js";
import { fileError } from "../errors.js";
import { graphMacs, parameterCount, type StateSource, type Tensor } from "../graph/index.js";
import { useNativeSums } from "../linalg/use-native.js";
import { foldGraph } from "../reparam/index.js";
import { buildModel, type Model } from "../zoo/index.js";
import { foldGroups } from "./folding.js";
import type { GroupsToFold } from "./groups.js";
import type { Conversion, ConvertOptions, Cost } from "./index.js";
import { networkLogits } from "./network.js";
import { requireWritable } from "./output.js";
import type { Pool } from "./pool.js";
import { judgeGroups, judgeLogits, type Verification } from "./verification.js";

export async function convertWith(pool: Pool, options: ConvertOptions): Promise<Conversion> {
  const { input, output } = options;
  outputContainer(output);
  requireWritable(output);
  useNativeSums();
  const checkpoint = loadCheckpoint(input, wantedOf(options));
  try {
    if (options.keepStructure === true) return rewrite(options, checkpoint);
    if (checkpoint.model.structure === "deploy") {
      const { arch, block } = checkpoint.model;
      throw fileError(
        input,
        `is a deployed ${arch} x ${block} already; to change its container only, add --keep-structure`,
      );
    }
    return await deploy(options, checkpoint, pool);
  } finally {
    checkpoint.close();
  }
}

function wantedOf({ arch, block, numClasses, imageSize, root }: ConvertOptions): LoadOptions {
  return {
    ...(arch === undefined ? {} : { arch }),
    ...(block === undefined ? {} : { block }),
    ...(numClasses === undefined ? {} : { numClasses }),
    ...{ imageSize, root },
  };
}

/** The same structure in another container. */
function rewrite(options: ConvertOptions, checkpoint: LoadedCheckpoint): Conversion {
  const { model, state, metadata } = checkpoint;
  saveCheckpoint(options.output, {
    model,
    state,
    metadata: { ...metadata, source: options.input },
  });
  return report(options, checkpoint, { model, folded: 0, verification: undefined });
}

async function deploy(
  options: ConvertOptions,
  checkpoint: LoadedCheckpoint,
  pool: Pool,
): Promise<Conversion> {
  const { model, state, metadata } = checkpoint;
  const { output, verify = true } = options;
  const deployed = buildModel({ ...model, structure: "deploy" });
  const outputs = deployed.graph.outputs.map(({ name }) => name);
  const folded = foldGraph(model.graph, { outputs });
  const job: GroupsToFold = { original: model.graph, folded, verify };
  const { onProgress } = options;
  const { weights, results, logits } = await foldGroups(pool.workers, {
    ...{ job, state, model, onProgress },
  });
  const { convolutions, parameters } = weights.graph;
  const computed = new Map<string, Tensor>();
  for (const [index, convolution] of convolutions.entries()) {
    const { weight, bias } = weights.of(index);
    computed.set(parameters[convolution.weight]!.name, weight);
    if (bias !== undefined) computed.set(parameters[convolution.bias!]!.name, bias);
  }
  // What no group has computed is either a tensor of the source or an expression beside the groups.
  const others = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  const newState: StateSource = {
    get: (name) => computed.get(name) ?? others.get(name)?.value(state),
  };
  const verification =
    logits === undefined
      ? undefined
      : {
          ...judgeGroups(results, convolutions, output),
          ...judgeLogits(logits, networkLogits(deployed, newState), output),
        };
  await pendingSignals();
  saveCheckpoint(output, {
    model: deployed,
    state: newState,
    metadata: {
      ...metadata,
      source: options.input,
      verified: verification === undefined ? "no" : { ...verification },
    },
  });
  return report(options, checkpoint, {
    model: deployed,
    folded: folded.groups.length,
    verification,
  });
}

/**
 * Lets the event loop deliver a signal that arrived during the check, before anything is written:
 * it is polled between two turns.
 */
async function pendingSignals(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function report(
  { input, output }: ConvertOptions,
  checkpoint: LoadedCheckpoint,
  result: { model: Model; folded: number; verification: Verification | undefined },
): Conversion {
  const { model, folded, verification } = result;
  const { arch, block, numClasses, structure } = model;
  const before = costOf(checkpoint.model);
  const after = costOf(model);
  const bytes = statSync(output).size;
  const { notes } = checkpoint;
  return {
    ...{ input, output, arch, block, numClasses, structure },
    ...{ before, after, folded, verification, notes, bytes },
  };
}

function costOf({ graph }: Model): Cost {
  return { params: parameterCount(graph), macs: graphMacs(graph) };
}
