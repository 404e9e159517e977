/** From what was measured to a verdict. */
import { GROUP_TOLERANCE } from "../reparam/index.js";
import type { Comparison } from "./compare.js";
import { type Costs, costsOf, type Forms, type LayerDifference } from "./forms.js";

export interface CaseResult extends Costs {
  readonly name: string;
  readonly kind: "block" | "network";
  readonly sum_sq_diff: number;
  readonly max_abs_diff: number;
  /** The largest `max_abs_diff` that is allowed. */
  readonly tolerance: number;
  /** The largest absolute output; the tolerance is a share of it. */
  readonly max_abs: number;
  readonly train_ms: number;
  readonly deploy_ms: number;
  readonly ok: boolean;
  /** The folded convolution that differs most from its branches, in float64; null where none was looked at. */
  readonly worst_layer: string | null;
  /** As a share of the largest value of an output channel. */
  readonly worst_layer_diff: number | null;
  readonly layer_tolerance: number;
  /** Why it is not ok; null where it is. */
  readonly reason: string | null;
}

/** Unit roundoff of float32. */
const ROUNDOFF = 2 ** -24;

/**
 * How far the outputs of both forms may be apart, as a share of the largest. Each convolution and each
 * batch norm rounds its sums: an error of about one roundoff of its typical value, with either sign, in
 * the training structure and again in the deployed one, and the new weights are rounded once more. The
 * errors of a chain of n convolutions add up as a random walk, to sqrt(n); among some thousand outputs
 * one is off by five times the typical error, a batch norm with a small variance (these are random)
 * amplifies by a few, and branches that cancel were larger than their sum. 64 covers them.
 */
export function outputTolerance(convolutions: number): number {
  return 64 * ROUNDOFF * Math.sqrt(Math.max(1, convolutions));
}

export interface Findings {
  readonly name: string;
  readonly kind: CaseResult["kind"];
  readonly forms: Forms;
  readonly comparison: Comparison;
  readonly layer: LayerDifference | undefined;
  /** A flaw that no number shows: branches that are left. */
  readonly flaw?: string | undefined;
}

export function judge({ name, kind, forms, comparison, layer, flaw }: Findings): CaseResult {
  const { sumOfSquares, largestDifference, largestValue, trainMs, deployMs } = comparison;
  const tolerance = largestValue * outputTolerance(forms.folded.groups.length);
  const reasons = [
    flaw,
    Number.isFinite(largestValue) ? undefined : "its outputs are not finite",
    largestDifference <= tolerance
      ? undefined
      : `its outputs differ by ${exponential(largestDifference)}, at most ${exponential(tolerance)} is allowed`,
    layer === undefined || layer.share <= GROUP_TOLERANCE
      ? undefined
      : `${layer.name} differs from its branches by ${exponential(layer.share)} of its channel's ` +
        `largest value, at most ${exponential(GROUP_TOLERANCE)} is allowed`,
  ].filter((reason) => reason !== undefined);
  return {
    ...{ name, kind, sum_sq_diff: sumOfSquares, max_abs_diff: largestDifference, tolerance },
    ...{ max_abs: largestValue, train_ms: trainMs, deploy_ms: deployMs, ok: reasons.length === 0 },
    ...{ worst_layer: layer?.name ?? null, worst_layer_diff: layer?.share ?? null },
    ...{
      layer_tolerance: GROUP_TOLERANCE,
      reason: reasons.length === 0 ? null : reasons.join("; "),
    },
    ...costsOf(forms),
  };
}

function exponential(value: number): string {
  return value.toExponential(2);
}
