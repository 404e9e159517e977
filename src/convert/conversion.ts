/** Converting checkpoints: training structure to deployed structure, or one container to another. */
import { statSync } from "node:fs";

import {
  loadCheckpoint,
  type LoadedCheckpoint,
  type LoadOptions,
  outputContainer,
  saveCheckpoint,
  stageCheckpoint,
} from "../checkpoint/index.js";
import { fileError } from "../errors.js";
import { forgetSharedConstants, graphMacs, parameterCount } from "../graph/index.js";
import { useNativeSums } from "../linalg/use-native.js";
import { foldGraph } from "../reparam/index.js";
import { dropSpareMemory } from "../util/spare-memory.js";
import { buildModel, type Model } from "../zoo/index.js";
import { foldGroups } from "./folding.js";
import type { Conversion, ConvertOptions, Cost } from "./index.js";
import { requireWritable } from "./output.js";
import {
  judgeGroups,
  judgeLogits,
  longestVerification,
  type Verification,
} from "./verification.js";

/**
 * Converts a checkpoint. The output is put in place whole, after the check, or not at all.
 * @throws RepkitError "file" for inputs that are missing, unsafe, or of the wrong kind;
 *   "verification" where the deployed model differs from the trained one
 */
export async function convert(options: ConvertOptions): Promise<Conversion> {
  const { input, output } = options;
  outputContainer(output);
  requireWritable(output);
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
    return await deploy(options, checkpoint);
  } finally {
    checkpoint.close();
    dropSpareMemory();
    forgetSharedConstants();
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

async function deploy(options: ConvertOptions, checkpoint: LoadedCheckpoint): Promise<Conversion> {
  const { model: original, state, metadata } = checkpoint;
  const { output, verify = true, threads, onProgress } = options;
  useNativeSums(threads);
  const model = buildModel({ ...original, structure: "deploy" });
  const outputs = model.graph.outputs.map(({ name }) => name);
  const folded = foldGraph(original.graph, { outputs });
  const describe = (verified: Verification | "no") => ({
    ...metadata,
    ...{ source: options.input, verified: verified === "no" ? verified : { ...verified } },
  });
  const draft = describe(verify ? longestVerification(model.graph) : "no");
  const writer = stageCheckpoint(output, { model, metadata: draft });
  try {
    const { convolutions, checked } = await foldGroups({
      ...{ original: original.graph, folded, verify, state, deployed: model.graph, onProgress },
      write: (name, tensor) => writer.write(name, tensor),
    });
    const verification = checked && {
      ...judgeGroups(checked.results, convolutions, output),
      ...judgeLogits(checked.logits.before, checked.logits.after, output),
    };
    await pendingSignals();
    writer.describe(describe(verification ?? "no"));
    writer.commit();
    return report(options, checkpoint, { model, folded: folded.groups.length, verification });
  } finally {
    writer.discard();
  }
}

/**
 * Lets the event loop deliver a signal that arrived during the check, before the output is put in its
 * place: it is polled between two turns.
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
