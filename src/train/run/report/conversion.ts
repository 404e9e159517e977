/** The report's section about the deployed form of the model. */
import { htmlTable } from "./html.js";
import { formatNumber } from "./ticks.js";

/** The trained model against its deployed form. */
export interface ConversionCheck {
  /** Of the logits. */
  readonly maxAbsDiff: number;
  readonly tolerance: number;
  /** Top-1 accuracy of the two, percent; undefined where it was not measured. */
  readonly accBefore: number | undefined;
  readonly accAfter: number | undefined;
  readonly paramsTrain: number;
  readonly paramsDeploy: number;
  readonly ok: boolean;
}

export function conversionSection(check: ConversionCheck | undefined): string {
  if (check === undefined)
    return '<p class="muted">The deployed form has not been checked yet.</p>';
  const verdict = check.ok
    ? '<p class="good"><b>Passed</b>: the deployed form gives the same outputs.</p>'
    : '<p class="bad"><b>Failed</b>: the deployed form gives other outputs.</p>';
  const table = htmlTable(
    [{ title: "" }, { title: "trained", isNumber: true }, { title: "deployed", isNumber: true }],
    [
      ["parameters", count(check.paramsTrain), count(check.paramsDeploy)],
      ["top-1 accuracy", percent(check.accBefore), percent(check.accAfter)],
    ],
  );
  const difference = `largest difference of the logits ${formatNumber(check.maxAbsDiff)}`;
  return `${verdict}\n<p>${difference}, tolerance ${formatNumber(check.tolerance)}</p>\n${table}`;
}

/** 11689512 → `11,689,512`, whatever the system's language. */
function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

function percent(value: number | undefined): string {
  return value === undefined ? "–" : `${value.toFixed(2)} %`;
}
