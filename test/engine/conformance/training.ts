// Whole networks in training: one step's loss and gradients, then five steps of SGD.

import { afterAll, beforeAll, describe, it } from "@jest/globals";

import type { Differentiation, Precision } from "../../../src/engine/types.js";
import { type Graph, type Tensor, toFloat64 } from "../../../src/graph/index.js";
import { buildModel } from "../../../src/zoo/index.js";
import { fillInput, filledState } from "../../helpers/fill.js";
import { type GradientReference, type ModelReference, readModel } from "../../helpers/fixtures.js";
import { norm, Report } from "./distances.js";
import { compareHead, lastLayerRounding, recordedError, scaleOf } from "./logits.js";
import { isStepped, trainedModels } from "./selection.js";
import { compareSteps } from "./sgd.js";
import { type StatisticsRounding, statisticsRounding } from "./statistics-rounding.js";
import { load, RECORDED, ROUNDOFF, type Subject, subjectName } from "./subject.js";
import { spoiltParameters, TURNED } from "./turned-relus.js";

const { abs, max, sqrt } = Math;

const TIMEOUT = 600_000; // ms
const BATCH = [4, 3, 64, 64] as const;

/** The bounds in fp64. */
const EXACT = { loss: 1e-9, gradient: 1e-9 } as const;

/** Sums of a thousand terms round by 32 roundoffs. */
const SUMS = 32;

/** "Within twice the reference's own recorded error": both sides round, in their own ways. */
const TWICE = 2;

type TrainReference = NonNullable<ModelReference["train"]>;

export function describeTraining(subject: Subject, names = trainedModels()): void {
  describe.each(names)(`%s, training (${subjectName(subject)})`, (name) => {
    const reference = readModel(name);
    const train = reference.train!;
    const { graph } = buildModel({ ...reference, imageSize: 64 });
    const images = fillInput("train_input", BATCH);
    const labels = Int32Array.from(train.labels);
    let step: Differentiation | undefined;
    let rounding: StatisticsRounding;

    beforeAll(async () => {
      const network = await load(subject, graph, filledState(graph));
      step = await network.differentiate(images, { labels });
      await network.dispose();
      rounding = await statisticsRounding(subject, graph, { images, labels });
    }, TIMEOUT);

    // Gradients of all networks at once would fill the memory.
    afterAll(() => (step = undefined));

    it("has the reference's logits and loss", () => {
      const report = new Report();
      const limit = trainedLogitsLimit(subject.precision, graph, train) + TWICE * rounding.logits;
      compareHead(report, step!.outputs.get("logits")!, train, limit);
      // The loss of one image changes by no more than twice as much as its logits.
      const own = TWICE * abs(train.loss - train.loss_f64);
      const exact = EXACT.loss * train.loss_f64;
      const allowed = subject.precision === "fp64" ? exact : own + 2 * limit;
      report.within("loss", step!.loss! - train.loss_f64, allowed);
      report.expectNothing();
    });

    // bf16 turns ReLUs around by the hundred: what is left of gradients through twenty layers is
    // compared block by block instead.
    if (subject.precision === "fp64" || subject.precision === "fp32") {
      it(
        "has the reference's gradients",
        async () => {
          const compare = (spoilt: ReadonlySet<string>) => {
            const extra = (name: string) =>
              TWICE * (rounding.gradient + (spoilt.has(name) ? TURNED : 0));
            return compareGradients(subject.precision, step!.gradients, train, extra);
          };
          const strict = compare(new Set());
          if (strict.isEmpty || subject.precision === "fp64") return strict.expectNothing();
          compare(await spoiltParameters(subject, graph, images)).expectNothing();
        },
        TIMEOUT,
      );

      it("has the reference's running statistics", () => {
        compareStatistics(step!, train);
      });

      if (isStepped(name, subject.precision)) {
        it("takes the reference's steps", () => compareSteps(subject, graph, reference), TIMEOUT);
      }
    }
  });
}

/**
 * Training normalises by the few values of a batch, which amplifies rounding: by how much shows in
 * the reference's own float32 error, so other roundings are measured by it.
 */
function trainedLogitsLimit(precision: Precision, graph: Graph, train: TrainReference): number {
  if (precision === "fp64") return EXACT.loss * scaleOf(train);
  const floor = lastLayerRounding(graph) * RECORDED * scaleOf(train);
  return (TWICE * recordedError(train) + floor) * (ROUNDOFF[precision] / RECORDED);
}

/** `extra` is what a gradient may be off by beside its limit, as a share of its norm. */
function compareGradients(
  precision: Precision,
  gradients: ReadonlyMap<string, Tensor>,
  { grads }: TrainReference,
  extra: (name: string) => number,
): Report {
  const report = new Report();
  const typical = typicalError(Object.values(grads));
  for (const [name, expected] of Object.entries(grads)) {
    const gradient = gradients.get(name);
    if (gradient === undefined) {
      report.within(`${name}, missing`, expected.l2_f64, 0);
      continue;
    }
    const limit = gradientLimit(precision, expected, typical) + extra(name) * expected.l2_f64;
    report.within(`norm of ${name}`, norm(gradient) - expected.l2_f64, limit);
    const { data } = toFloat64(gradient);
    for (const [i, value] of expected.first4_f64.entries()) {
      report.within(`${name}, element ${i}`, data[i]! - value, limit);
    }
  }
  for (const name of gradients.keys()) {
    if (grads[name] === undefined) report.within(`${name}, not the reference's`, 1, 0);
  }
  return report;
}

/**
 * The norm of a difference bounds the difference of norms, and that of each element. In fp32 one
 * gradient may be off by as much as half of the network's are: the reference's error in it can have
 * been small by luck. In fp64, a gradient that is zero in theory is the rounding
 * of its terms, which `err_l2` tells in float32: 2^-29 of that, and SUMS times it for luck. In fp32 nothing
 * but rounding is left of it, in `err_l2` as in what is compared (torch's can be 1.8 times as large where
 * the median errors of all gradients are equal): twice as much again.
 */
function gradientLimit(
  precision: Precision,
  { l2_f64, err_l2 }: GradientReference,
  typical: number,
): number {
  if (precision === "fp64") {
    return EXACT.gradient * l2_f64 + (SUMS * err_l2 * ROUNDOFF.fp64) / RECORDED;
  }
  const noise = err_l2 > l2_f64 ? TWICE : 1;
  return noise * TWICE * max(err_l2, typical * l2_f64) + SUMS * RECORDED * l2_f64;
}

/** The median of the gradients' own relative errors. */
function typicalError(gradients: readonly GradientReference[]): number {
  const errors = gradients.map(({ err_l2, l2_f64 }) => err_l2 / l2_f64).sort((a, b) => a - b);
  return errors[errors.length >> 1]!;
}

/** Recorded in float32 alone, of a forward pass whose logits are off by `recordedError`. */
function compareStatistics({ updates }: Differentiation, train: TrainReference): void {
  const report = new Report();
  const share = TWICE * (recordedError(train) / scaleOf(train)) + SUMS * RECORDED;
  for (const [name, { l2, sum }] of Object.entries(train.running)) {
    const found = toFloat64(updates.get(name)!);
    report.within(`norm of ${name}`, norm(found) - l2, share * l2);
    const total = found.data.reduce((total, value) => total + value, 0);
    // Of n values no sum exceeds sqrt(n) of their norm.
    report.within(`sum of ${name}`, total - sum, share * l2 * sqrt(found.data.length));
  }
  report.expectNothing();
}
