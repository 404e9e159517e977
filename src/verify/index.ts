/** The job behind `repkit verify`: does the deployed form of a network compute what the trained one does? */
import { loadCheckpoint, type LoadOptions as Wanted } from "../checkpoint/index.js";
import type { Engine, LoadOptions } from "../engine/types.js";
import { fileError } from "../errors.js";
import { structuralHash } from "../graph/index.js";
import { type Case, randomBytes, type Selection, selectCases } from "./cases.js";
import { compareForms } from "./compare.js";
import { bothForms, worstLayer } from "./forms.js";
import { type CaseResult, judge } from "./judge.js";
import { randomisedState } from "./statistics.js";

export { type Case, type Selection, selectCases } from "./cases.js";
export { type CaseResult } from "./judge.js";

export interface VerifyOptions {
  readonly engine: Engine;
  /** Precision, device and threads. */
  readonly load: LoadOptions;
  /** Of the random weights. */
  readonly seed: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What two hundred cases can spare. */
const CASE_TIMING = { runs: 2, seconds: 0.5 } as const;

/** Blocks and networks with random weights. */
export async function verifyCases(
  selection: Selection,
  { engine, load, seed, onProgress }: VerifyOptions,
): Promise<readonly CaseResult[]> {
  const cases = selectCases(selection);
  const results: CaseResult[] = [];
  for (const build of cases) {
    onProgress?.(results.length, cases.length);
    results.push(await verifyCase(build(), { engine, load, seed }));
  }
  return results;
}

/** One of them. */
export async function verifyCase(
  { name, kind, train, deployHash, images }: Case,
  { engine, load, seed }: VerifyOptions,
): Promise<CaseResult> {
  const forms = bothForms(train, randomisedState(train, seed));
  const comparison = await compareForms(forms, images, { engine, load, ...CASE_TIMING });
  const flaw =
    structuralHash(forms.deploy.graph) === deployHash
      ? undefined
      : "folding does not give its deployed structure";
  const found = { name, kind, forms, comparison, flaw };
  if (kind === "block") return judge({ ...found, layer: worstLayer(forms) });
  // Its layers one by one take longer than all else; they are looked at where there is something to find.
  const result = judge({ ...found, layer: undefined });
  return result.ok ? result : judge({ ...found, layer: worstLayer(forms) });
}

export interface VerifyWeightsOptions extends VerifyOptions {
  readonly weights: string;
  /** What the file should be, where it leaves that open. */
  readonly wanted: Omit<Wanted, "structure">;
  /** A deployed checkpoint to hold against the weights. Default: what folding makes of them now. */
  readonly against?: string | undefined;
  readonly batchSize: number;
}

const WEIGHTS_TIMING = { runs: 10, seconds: 3 } as const;

/**
 * A trained checkpoint against its deployed form: the whole network on the engine, and every folded
 * convolution by itself.
 * @throws RepkitError "file" where a file is missing, unsafe, or of the wrong kind
 */
export async function verifyWeights(options: VerifyWeightsOptions): Promise<CaseResult> {
  const { weights, against, wanted, engine, load, batchSize, onProgress } = options;
  const trained = loadCheckpoint(weights, wanted);
  try {
    const { graph, arch, block, structure, numClasses, imageSize } = trained.model;
    if (structure === "deploy") {
      throw fileError(
        weights,
        `is a deployed ${arch} x ${block}: nothing is left to fold; to hold it against the weights it came from: repkit verify TRAINED --against ${weights}`,
      );
    }
    const deployed =
      against === undefined
        ? undefined
        : loadCheckpoint(against, { arch, block, numClasses, structure: "deploy" });
    try {
      onProgress?.(0, STEPS);
      const forms = bothForms(graph, trained.state, deployed?.state);
      const images = randomBytes([batchSize, imageSize, imageSize, 3]);
      onProgress?.(1, STEPS);
      const comparison = await compareForms(forms, images, { engine, load, ...WEIGHTS_TIMING });
      onProgress?.(2, STEPS);
      const layer = worstLayer(forms);
      return judge({ name: `${arch} x ${block}`, kind: "network", forms, comparison, layer });
    } finally {
      deployed?.close();
    }
  } finally {
    trained.close();
  }
}

/** Folding, running, comparing layer by layer. */
const STEPS = 3;
