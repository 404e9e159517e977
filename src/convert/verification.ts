/**
 * Is the deployed model the trained one? Every folded convolution is run against the nodes that it
 * replaces, and then the whole networks against each other, all in float64: what remains is the one
 * rounding of the new weights to float32.
 */
import { RepkitError } from "../errors.js";
import { type Graph, parametersOf } from "../graph/index.js";
import { type FoldedConvolution, GROUP_TOLERANCE } from "../reparam/index.js";
import type { GroupResult } from "./checker.js";

/** Differences are shares of the largest value of the output channel, or of all logits. */
export interface Verification {
  /** The convolution that differs most, and by how much. */
  readonly worst: string;
  readonly worst_diff: number;
  readonly tolerance: number;
  /** Of the logits, for one random image of 32x32 pixels. */
  readonly logits_diff: number;
  readonly logits_tolerance: number;
}

/**
 * Rounding errors of 2^-24 in some hundred layers add up to a few 1e-7 of the logits
 * (the reference's own conversions, in float32, change them by up to 2e-6).
 */
const LOGITS_TOLERANCE = 1e-5;

/** One that takes at least as many characters in JSON as any that is found of this deployed network. */
export function longestVerification(deployed: Graph): Verification {
  const names = parametersOf(deployed).map(({ name }) => name);
  const worst = names.reduce(
    (longest, name) => (name.length > longest.length ? name : longest),
    "",
  );
  const number = -Number.MAX_VALUE;
  return {
    ...{ worst, worst_diff: number, tolerance: number },
    ...{ logits_diff: number, logits_tolerance: number },
  };
}

/** Throws a "verification" error that names the worst convolution where one is out of tolerance. */
export function judgeGroups(
  results: readonly GroupResult[],
  convolutions: readonly FoldedConvolution[],
  output: string,
): Pick<Verification, "worst" | "worst_diff" | "tolerance"> {
  let worst = "";
  let worst_diff = 0;
  for (const { index, check } of results) {
    if (worst !== "" && check.share <= worst_diff) continue;
    worst = convolutions[index]?.name ?? "";
    worst_diff = check.share;
  }
  if (!(worst_diff <= GROUP_TOLERANCE)) {
    throw failure(output, `the convolution ${worst}`, worst_diff, GROUP_TOLERANCE);
  }
  return { worst, worst_diff, tolerance: GROUP_TOLERANCE };
}

/** Throws a "verification" error where the two networks' logits differ. */
export function judgeLogits(
  expected: Float64Array,
  actual: Float64Array,
  output: string,
): Pick<Verification, "logits_diff" | "logits_tolerance"> {
  let difference = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    const own = Math.abs(expected[i]! - actual[i]!);
    difference = Math.max(difference, Number.isNaN(own) ? Infinity : own);
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  const logits_diff = difference === 0 ? 0 : difference / scale;
  if (!(logits_diff <= LOGITS_TOLERANCE)) {
    throw failure(output, "the network's output", logits_diff, LOGITS_TOLERANCE);
  }
  return { logits_diff, logits_tolerance: LOGITS_TOLERANCE };
}

function failure(output: string, what: string, difference: number, tolerance: number) {
  const isFinite = Number.isFinite(difference);
  const found = isFinite ? difference.toExponential(2) : "no finite share";
  const hint = isFinite ? "" : " (are there NaN or infinite weights?)";
  return new RepkitError(
    "verification",
    `${what} after folding differs from before by ${found} of the largest value, ` +
      `at most ${tolerance.toExponential(2)} is allowed${hint}; ${output} was not written`,
    { details: { difference, tolerance } },
  );
}
