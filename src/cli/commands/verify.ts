/** `repkit verify`: is the deployed form of a network the trained one? Of weights, or of everything there is. */
import { RepkitError, usageError } from "../../errors.js";
import {
  type CaseResult,
  verifyCases,
  verifyWeights,
  type VerifyOptions,
} from "../../verify/index.js";
import type { CommonOptions } from "../options.js";
import { progressBar } from "../progress.js";
import { formatCount, formatTable } from "../table.js";
import { type ChooseEngine, chooseInstalled, loadOptions } from "./evaluation-options.js";

export interface VerifyCommandOptions extends CommonOptions {
  readonly arch?: string;
  readonly blocktype?: string;
  readonly against?: string;
  readonly numClasses?: number;
  readonly root?: string;
  readonly imgSize?: number;
  readonly batchSize?: number;
}

export async function verifyCommand(
  weights: string | undefined,
  options: VerifyCommandOptions,
  choose: ChooseEngine = chooseInstalled,
): Promise<void> {
  checkFlags(weights, options);
  const started = performance.now();
  const engine = await choose(options.engine);
  const bar = await progressBar("verifying", options);
  const how: VerifyOptions = {
    ...{ engine, load: loadOptions(options), seed: options.seed },
    onProgress: bar.update,
  };
  let cases: readonly CaseResult[];
  try {
    cases =
      weights === undefined
        ? await verifyCases({ arch: options.arch, block: options.blocktype }, how)
        : [await verifyWeights(weightsOptions(weights, options, how))];
  } finally {
    bar.stop();
  }
  const failures = cases.filter(({ ok }) => !ok);
  const report: Report = {
    ...{ passed: cases.length - failures.length, failed: failures.length },
    ...{ engine: engine.name, seconds: (performance.now() - started) / 1000, cases },
  };
  process.stdout.write(
    options.json === true ? `${JSON.stringify(report)}\n` : asText(report, weights),
  );
  const [first] = failures;
  if (first === undefined) return;
  const others = failures.length === 1 ? "" : ` (and ${failures.length - 1} more)`;
  throw new RepkitError("verification", `${weights ?? first.name}: ${first.reason}${others}`);
}

interface Report {
  readonly passed: number;
  readonly failed: number;
  readonly engine: string;
  readonly seconds: number;
  readonly cases: readonly CaseResult[];
}

/** Rounding is the whole subject: bfloat16's would hide what is looked for. */
const PRECISIONS: readonly string[] = ["fp32", "fp64"];

const OF_WEIGHTS = {
  against: "--against",
  numClasses: "--num-classes",
  root: "--root",
  imgSize: "--img-size",
  batchSize: "--batch-size",
} as const;

function checkFlags(weights: string | undefined, options: VerifyCommandOptions): void {
  if (!PRECISIONS.includes(options.precision)) {
    throw usageError(`verify: expected --precision fp32 or fp64, received "${options.precision}"`);
  }
  if (weights !== undefined) return;
  const stranger = Object.entries(OF_WEIGHTS).find(([name]) => name in options);
  if (stranger !== undefined)
    throw usageError(`verify: ${stranger[1]} does not go without WEIGHTS`);
}

function weightsOptions(weights: string, options: VerifyCommandOptions, how: VerifyOptions) {
  const { arch, blocktype: block, numClasses, root, imgSize, against, batchSize = 1 } = options;
  return {
    ...how,
    ...{ weights, against, batchSize },
    wanted: {
      ...(arch === undefined ? {} : { arch }),
      ...(block === undefined ? {} : { block }),
      ...(numClasses === undefined ? {} : { numClasses }),
      ...{ root, imageSize: imgSize },
    },
  };
}

function asText(report: Report, weights: string | undefined): string {
  const { cases, passed, failed, engine, seconds } = report;
  const [first] = cases;
  if (weights !== undefined && first !== undefined) return weightsText(first, engine);
  const blocks = cases.filter(({ kind }) => kind === "block");
  const networks = cases.filter(({ kind }) => kind === "network");
  const tables = [
    ...(blocks.length > 0 ? [blockTable(blocks)] : []),
    ...(networks.length > 0 ? [networkTable(networks)] : []),
  ];
  const failures = cases
    .filter(({ ok }) => !ok)
    .map(({ name, reason }) => `failed: ${name}: ${reason}\n`);
  const total = `${passed} passed, ${failed} failed on ${engine} in ${seconds.toFixed(1)} s\n`;
  return [...tables, ...(failures.length > 0 ? [failures.join("")] : []), total].join("\n");
}

/** A row per block, with the case that came closest to its tolerance. */
function blockTable(cases: readonly CaseResult[]): string {
  const groups = new Map<string, CaseResult[]>();
  for (const one of cases) {
    const [block = ""] = one.name.split(" ");
    groups.set(block, [...(groups.get(block) ?? []), one]);
  }
  return formatTable(
    [
      ...[{ title: "BLOCK" }, { title: "CASES", align: "right" as const }],
      ...[
        { title: "DIFFERENCE", align: "right" as const },
        { title: "ALLOWED", align: "right" as const },
      ],
      { title: "CLOSEST CASE" },
    ],
    [...groups].map(([block, all]) => {
      const closest = all.reduce((a, b) => (closeness(b) > closeness(a) ? b : a));
      const { max_abs_diff, tolerance, name } = closest;
      return [
        ...[block, String(all.length), exponential(max_abs_diff), exponential(tolerance)],
        name.slice(block.length + 1),
      ];
    }),
  );
}

function closeness({ max_abs_diff, tolerance }: CaseResult): number {
  return Number.isFinite(max_abs_diff) ? max_abs_diff / tolerance : Infinity;
}

function networkTable(cases: readonly CaseResult[]): string {
  const right = (title: string) => ({ title, align: "right" as const });
  return formatTable(
    [
      { title: "NETWORK" },
      ...["DIFFERENCE", "ALLOWED", "TRAIN MS", "DEPLOY MS", "FASTER"].map(right),
    ],
    cases.map(({ name, max_abs_diff, tolerance, train_ms, deploy_ms }) => [
      ...[name, exponential(max_abs_diff), exponential(tolerance)],
      ...[train_ms.toFixed(1), deploy_ms.toFixed(1), `${(train_ms / deploy_ms).toFixed(2)}x`],
    ]),
  );
}

function weightsText(result: CaseResult, engine: string): string {
  const { name, ok, sum_sq_diff, max_abs_diff, tolerance, worst_layer, worst_layer_diff } = result;
  const { train_ms, deploy_ms, layer_tolerance } = result;
  const { params_train, params_deploy, macs_train, macs_deploy } = result;
  const lines = [
    `${name} on ${engine}: ${ok ? "the deployed form computes the same" : "FAILED"}`,
    `  outputs        differ by ${exponential(max_abs_diff)} at most (allowed ${exponential(tolerance)}), ` +
      `sum of squares ${exponential(sum_sq_diff)}`,
    ...(worst_layer === null || worst_layer_diff === null
      ? []
      : [
          `  layers         by ${exponential(worst_layer_diff)} of the largest value ` +
            `(allowed ${exponential(layer_tolerance)}), most in ${worst_layer}`,
        ]),
    `  parameters     ${formatCount(params_train)} -> ${formatCount(params_deploy)}`,
    `  multiply-adds  ${formatCount(macs_train)} -> ${formatCount(macs_deploy)}`,
    `  milliseconds   ${train_ms.toFixed(1)} -> ${deploy_ms.toFixed(1)} (${(train_ms / deploy_ms).toFixed(2)}x faster)`,
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function exponential(value: number): string {
  return value.toExponential(1);
}
