// Whole networks in evaluation, in both structures: logits, and every block's output.

import { describe, expect, it } from "@jest/globals";

import type { Precision } from "../../../src/engine/types.js";
import { type Graph, type Tensor, toFloat64 } from "../../../src/graph/index.js";
import { buildModel } from "../../../src/zoo/index.js";
import { deployedState } from "../../helpers/deployed.js";
import { fillInput, filledState } from "../../helpers/fill.js";
import { type ModelReference, readModel } from "../../helpers/fixtures.js";
import { Report, sampleNorms } from "./distances.js";
import {
  bf16Error,
  compareArgmax,
  compareHead,
  EXACT,
  logitsLimit,
  scaleOf,
  tf32Error,
} from "./logits.js";
import { evaluatedModels } from "./selection.js";
import { load, RECORDED, type Subject, subjectName } from "./subject.js";

/** The largest networks take a while on two cores. */
const TIMEOUT = 300_000; // ms

/** Sums of a thousand terms round by 32 roundoffs; norms of whole maps by no more. */
const SUMS = 32;

/**
 * The reference folds in float32, repkit in float64: "conversion changes the logits by less than
 * 2e-6" of the largest, by the reference's README, and ours is no worse.
 */
const FOLDING = 2 * 2e-6;

export function describeEvaluation(subject: Subject, names = evaluatedModels()): void {
  describe.each(names)(`%s, evaluation (${subjectName(subject)})`, (name) => {
    const reference = readModel(name);
    const images = fillInput("input", [2, 3, 64, 64]);

    it("has the reference's logits and activations", () => trained(), TIMEOUT);
    it("has the reference's logits when it is deployed", () => deployed(), TIMEOUT);

    async function trained(): Promise<void> {
      const { graph } = buildModel({ ...reference, imageSize: 64 });
      const network = await load(subject, graph, filledState(graph));
      const scopes = lastNodes(graph, Object.keys(reference.eval.activations));
      const { outputs, values } = await network.infer(images, { values: [...scopes.values()] });
      await network.dispose();

      const report = new Report();
      const logits = outputs.get("logits")!;
      const limit = logitsLimit(subject.precision, graph, reference.eval);
      compareHead(report, logits, reference.eval, limit);
      compareArgmax(report, logits, reference.eval.argmax, limit);
      const { logits_l2, logits_l2_f64 } = reference.eval;
      const compare = new NormComparison(report, subject, graph);
      compare.norms("logits", logits, { l2: logits_l2, l2_f64: logits_l2_f64 });
      for (const [scope, id] of scopes) {
        compare.activation(scope, values.get(id)!, reference.eval.activations[scope]!);
      }
      report.expectNothing();
    }

    async function deployed(): Promise<void> {
      const model = buildModel({ ...reference, imageSize: 64 });
      const { graph } = buildModel({ ...model, structure: "deploy" });
      const network = await load(subject, graph, deployedState(model, filledState(model.graph)));
      const { outputs } = await network.infer(images);
      await network.dispose();

      const report = new Report();
      const limit =
        logitsLimit(subject.precision, graph, reference.deploy) +
        FOLDING * scaleOf(reference.deploy);
      compareHead(report, outputs.get("logits")!, reference.deploy, limit);
      compareArgmax(report, outputs.get("logits")!, reference.deploy.argmax, limit);
      report.expectNothing();
    }
  });
}

/** The node of each scope that comes last: its value is the block's. */
function lastNodes({ nodes }: Graph, scopes: readonly string[]): ReadonlyMap<string, number> {
  const last = new Map<string, number>();
  for (const { id, name, type } of nodes) {
    if (type.world !== "activation") continue;
    const path = referencePath(name);
    const scope = scopes.find((scope) => path === scope || path.startsWith(`${scope}.`));
    if (scope !== undefined) last.set(scope, id);
  }
  expect([...last.keys()].sort()).toEqual(scopes.toSorted());
  return last;
}

/** The reference's auxiliary heads number what is plainly named here: 1 pools, 2 flattens. */
function referencePath(name: string): string {
  return name.replace(/_aux\.gap$/, "_aux.1").replace(/_aux\.flatten$/, "_aux.2");
}

type ActivationReference = ModelReference["eval"]["activations"][string];

class NormComparison {
  readonly #report: Report;
  readonly #precision: Precision;
  /** How far a norm may be off, as a share of it. */
  readonly #share: number;

  constructor(report: Report, { precision }: Subject, graph: Graph) {
    this.#report = report;
    this.#precision = precision;
    this.#share = normShare(precision, graph);
  }

  /** The norm of each image's part. */
  norms(what: string, value: Tensor, { l2, l2_f64 }: Pick<ActivationReference, "l2" | "l2_f64">) {
    for (const [n, found] of sampleNorms(value).entries()) {
      const exact = l2_f64[n]!;
      const recorded = this.#precision === "fp32" ? 2 * Math.abs(l2[n]! - exact) : 0;
      const limit = this.#share * exact + recorded;
      this.#report.within(`norm of ${what}, image ${n}`, found - exact, limit);
    }
  }

  /** A block's output: shape, norms, and the first elements. */
  activation(scope: string, value: Tensor, expected: ActivationReference) {
    // A pooled map counts as flat or as 1x1, as it pleases either side.
    const solid = (shape: readonly number[]) => shape.filter((extent) => extent !== 1);
    expect([scope, solid(value.shape)]).toEqual([scope, solid(expected.shape)]);
    this.norms(scope, value, expected);
    // Norms do not see the order of elements, so a few are compared for that alone, within a
    // hundredth of a typical one; coarse precisions add what they do to every element.
    const { data } = toFloat64(value);
    const typical = expected.l2_f64[0]! / Math.sqrt(data.length / value.shape[0]!);
    for (const [i, first] of expected.first4.entries()) {
      const limit = (0.01 + 4 * this.#share) * typical;
      this.#report.within(`${scope}, element ${i}`, data[i]! - first, limit);
    }
  }
}

function normShare(precision: Precision, graph: Graph): number {
  switch (precision) {
    case "fp64":
      return EXACT;
    case "fp32":
      return SUMS * RECORDED;
    case "tf32":
      return tf32Error(graph);
    case "bf16":
      return bf16Error(graph);
  }
}
