// Every block of the reference: outputs, statistics and gradients, custom L2 and its gradients.

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import type { Differentiation, Executable } from "../../../src/engine/types.js";
import { interpret, type State, type Tensor } from "../../../src/graph/index.js";
import { type BlockReference, blockNames, readBlock } from "../../helpers/fixtures.js";
import { blockGraph, referenceBlock } from "../../helpers/reference-blocks.js";
import { distance, largest, largestDifference, norm, Report } from "./distances.js";
import { load, RECORDED, ROUNDOFF, type Subject, subjectName } from "./subject.js";

/**
 * What a sum of n terms loses grows like sqrt(n) roundoffs of its size. Kernels have up to 8 x 7x7
 * = 392 taps, gradients sum over 3 x 11x11 = 363 pixels: 20 roundoffs. A branch has one such sum
 * after another (convolution, statistics, convolution): 20 sqrt(3) = 35, of which largest elements
 * see the better part.
 */
const SUMS = 32;

/**
 * A parameter in front of a batch norm moves what the batch norm takes out again, so its gradient is
 * the small rest of a sum whose terms are as large as those of other gradients (a depthwise
 * DBB's first 1x1 kernels are scales: 1e-5 of them remain). It keeps the rounding of each term: that
 * of the value, of the gradient, of the statistics, of their product, 4 roundoffs; and that of the
 * partial sums, which were as large as those of other gradients: in 8 lanes (AVX2) each adds 363 / 8 =
 * 45 terms, sqrt(45 / 3) = 4 roundoffs root mean square. Together sqrt(4² + 4²):
 */
const CANCELLED = 6;

/**
 * bf16 rounds what is stored, not what is summed. On its way through a branch a value is stored five
 * times (input, kernel, convolution, batch norm, sum), and as often in a second convolution: ten
 * roundings of half a roundoff root mean square, which add up as their squares do. Twice that, for
 * statistics that are off as well. In roundoffs:
 */
const STORED = 2 * (Math.sqrt(10) / 2);

/**
 * Where rounding turns a ReLU around, a whole gradient is lost. Values within STORED roundoffs (of a
 * standard deviation) of zero, on either side, are in danger, and the normal density there is 0.4:
 * this share of all gradients' squares.
 */
const turned = (roundoff: number) => Math.sqrt(2 * 0.4 * STORED * roundoff);

export function describeBlocks(subject: Subject): void {
  describe(`blocks (${subjectName(subject)})`, () => {
    describe.each(blockNames())("%s", (name) => {
      describeBlock(subject, readBlock(name));
    });
  });
}

function describeBlock(subject: Subject, reference: BlockReference): void {
  const { tensors } = reference;
  const hasPenalty = tensors.has("custom_l2");
  const graph = blockGraph(referenceBlock(reference), "train", { customL2: hasPenalty });
  const state: State = new Map(withPrefix(tensors, "state."));
  const input = tensors.get("input")!;
  const hasRelu = graph.nodes.some(({ op }) => op.kind === "relu");
  const { hasGradients = true, precision } = subject;
  let block: Executable;

  beforeAll(async () => {
    block = await load(subject, graph, state);
  });
  afterAll(() => block.dispose());

  const differentiate = () =>
    block.differentiate(input, { outputGradient: tensors.get("grad_output")! });

  it("evaluates", async () => {
    const { outputs } = await block.infer(input);
    expectValue(subject, "eval_output", outputs.get("y")!, tensors.get("eval_output")!);
  });

  it("trains: output and statistics", async () => {
    const { outputs, updates } = await differentiate();
    expectValue(subject, "train_output", outputs.get("y")!, tensors.get("train_output")!);
    for (const [name, expected] of withPrefix(tensors, "train_state.")) {
      expectValue(subject, name, updates.get(name)!, expected);
    }
  });

  if (precision === "fp64") {
    it("equals the interpreter in either mode", async () => {
      const results = {
        infer: (await block.infer(input)).outputs.get("y")!,
        train: (await differentiate()).outputs.get("y")!,
      };
      for (const mode of ["infer", "train"] as const) {
        const expected = interpret(graph, state, input, { mode }).outputs.get("y")!;
        expect(results[mode]).toBeCloseToTensor(expected, { relative: SUMS * ROUNDOFF.fp64 });
      }
    });
  }

  if (hasPenalty) {
    it("has its custom L2", async () => {
      const { loss, outputs } = await block.differentiate(undefined, { output: "customL2" });
      const expected = tensors.get("custom_l2")!;
      const value = { shape: [], data: Float64Array.of(loss!) };
      // Weights, and what is made of them, are float32 in every precision but fp64.
      expect(value).toBeCloseToTensor(expected, { relative: rounders(subject) * SUMS * RECORDED });
      expect(outputs.get("customL2")).toBeCloseToTensor(value, { relative: RECORDED });
    });
  }

  if (!hasGradients) return;

  it("differentiates", async () => {
    const found = await differentiate();
    const expected = new Map([
      ...withPrefix(tensors, "grad."),
      ["input", tensors.get("grad_input")!] as const,
    ]);
    expectGradients(subject, found, expected, hasRelu);
  });

  if (hasPenalty) {
    it("differentiates its custom L2", async () => {
      const found = await block.differentiate(undefined, { output: "customL2" });
      const expected = new Map(withPrefix(tensors, "custom_l2_grad."));
      expectGradients({ ...subject, precision: weightPrecision(subject) }, found, expected, false);
    });
  }
}

const weightPrecision = ({ precision }: Subject) => (precision === "fp64" ? "fp64" : "fp32");

/** fp64 has nothing to add to what the reference rounded; fp32 rounds as much again. */
function rounders({ precision }: Subject): number {
  return precision === "fp64" ? 1 : 2;
}

const isCoarse = ({ precision }: Subject) => precision === "bf16" || precision === "tf32";

function expectValue(subject: Subject, what: string, found: Tensor, expected: Tensor): void {
  if (!isCoarse(subject) || what.endsWith("num_batches_tracked")) {
    expect(found).toBeCloseToTensor(expected, { relative: rounders(subject) * SUMS * RECORDED });
    return;
  }
  expect(found.shape).toEqual(expected.shape);
  const report = new Report();
  const limit = STORED * ROUNDOFF[subject.precision] * norm(expected);
  report.within(what, distance(found, expected), limit);
  report.expectNothing();
}

/** `expected` by parameter name, with the images' under `input`; what is missing there is zero. */
function expectGradients(
  subject: Subject,
  { gradients, imageGradient }: Differentiation,
  expected: ReadonlyMap<string, Tensor>,
  hasRelu: boolean,
): void {
  const report = new Report();
  const most = Math.max(...[...expected.values()].map(largest));
  for (const [name, gradient] of expected) {
    const found = name === "input" ? imageGradient : gradients.get(name);
    if (found === undefined) {
      report.within(`${name}, missing`, largest(gradient), 0);
      continue;
    }
    expect([name, found.shape]).toEqual([name, gradient.shape]);
    if (isCoarse(subject)) {
      const roundoff = ROUNDOFF[subject.precision];
      const share = STORED * roundoff + (hasRelu ? turned(roundoff) : 0);
      const rest = CANCELLED * roundoff * most * Math.sqrt(gradient.data.length);
      report.within(name, distance(found, gradient), share * norm(gradient) + rest);
    } else {
      const limit = rounders(subject) * RECORDED * (SUMS * largest(gradient) + CANCELLED * most);
      report.within(name, largestDifference(found, gradient), limit);
    }
  }
  for (const [name, gradient] of gradients) {
    if (!expected.has(name)) report.within(`${name}, not the reference's`, largest(gradient), 0);
  }
  report.expectNothing();
}

function* withPrefix(
  tensors: ReadonlyMap<string, Tensor>,
  prefix: string,
): Iterable<readonly [string, Tensor]> {
  for (const [name, tensor] of tensors) {
    if (name.startsWith(prefix)) yield [name.slice(prefix.length), tensor];
  }
}
