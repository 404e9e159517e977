// The reference's five steps of SGD.

import type { Executable } from "../../../src/engine/types.js";
import { type Graph, type State } from "../../../src/graph/index.js";
import { fillInput, filledState } from "../../helpers/fill.js";
import type { ModelReference } from "../../helpers/fixtures.js";
import { distance, norm, Report } from "./distances.js";
import { statisticsRounding, type TrainingBatch } from "./statistics-rounding.js";
import { load, RECORDED, type Subject } from "./subject.js";
import { TURNED } from "./turned-relus.js";

const { abs, max } = Math;

const BATCH = [4, 3, 64, 64] as const;

/** The bounds in fp64: the recipe is well behaved there. */
const EXACT = { loss: 1e-6, parameter: 1e-4 } as const;

/** Sums of a thousand terms round by 32 roundoffs. */
const SUMS = 32;

/** Both sides round, in their own ways. */
const TWICE = 2;

/** By then two float32 trajectories are up to this far apart, by the same README. */
const DRIFT = 0.12;

/**
 * In fp64, losses and parameters are the reference's. Elsewhere one turned ReLU sends trajectories
 * apart, by a factor of fifty at each step, so each step starts from where the one in fp64 does:
 * its loss is then as close as rounding allows, and its update as close as gradients are, but for
 * turned ReLUs and the rounding of the parameter itself.
 */
export async function compareSteps(
  subject: Subject,
  graph: Graph,
  reference: ModelReference,
): Promise<void> {
  const report = new Report();
  const { losses, losses_f64, params_after } = reference.sgd!;
  if (subject.precision === "fp64") {
    const run = await SgdRun.start(subject, graph, reference);
    for (const [s, expected] of losses_f64.entries()) {
      report.within(`loss ${s}`, (await run.step(s)) - expected, EXACT.loss * expected);
    }
    const after = (await run.executable.state()).state;
    for (const [name, { l2_f64 }] of Object.entries(params_after)) {
      const limit = EXACT.parameter * l2_f64;
      report.within(`norm of ${name}`, norm(after.get(name)!) - l2_f64, limit);
    }
    await run.executable.dispose();
    return report.expectNothing();
  }

  const { exactEngine = subject.engine } = subject;
  const exact = await SgdRun.start({ engine: exactEngine, precision: "fp64" }, graph, reference);
  const free = await SgdRun.start(subject, graph, reference);
  const led = await SgdRun.start(subject, graph, reference);
  const statistics = await statisticsRounding(subject, graph, batchOf(0));
  const own = abs(losses[0]! - losses_f64[0]!) + statistics.loss;
  const rounding = TWICE * own + SUMS * RECORDED * losses_f64[0]!;
  const updateShare = TWICE * (TURNED + statistics.gradient);
  for (const [s, expected] of losses_f64.entries()) {
    const before = await exact.executable.state();
    await led.executable.restore({ state: before.state, momentum: before.momentum });
    report.within(`loss ${s}, led`, (await led.step(s)) - expected, TWICE * rounding);
    const drift = s === 0 ? rounding : TWICE * max(DRIFT * expected, abs(losses[s]! - expected));
    report.within(`loss ${s}, free`, (await free.step(s)) - expected, drift);
    await exact.step(s);
    const after = (await exact.executable.state()).state;
    const found = (await led.executable.state()).state;
    for (const name of Object.keys(params_after)) {
      const [from, to] = [before.state.get(name)!, after.get(name)!];
      const limit = updateShare * distance(to, from) + SUMS * RECORDED * norm(to);
      report.within(`${name} after step ${s}`, distance(found.get(name)!, to), limit);
    }
  }
  for (const run of [exact, free, led]) await run.executable.dispose();
  report.expectNothing();
}

/** The recorded recipe, on one executable. */
class SgdRun {
  readonly executable: Executable;
  readonly #learningRate: number;

  private constructor(executable: Executable, learningRate: number) {
    this.executable = executable;
    this.#learningRate = learningRate;
  }

  static async start(subject: Subject, graph: Graph, { sgd }: ModelReference): Promise<SgdRun> {
    const { momentum, weight_decay: weightDecay, lr } = sgd!.optimizer;
    const training = { momentum, settings: () => ({ weightDecay }) };
    const state: State = filledState(graph);
    return new SgdRun(await load(subject, graph, state, { training }), lr);
  }

  /** Takes step s and returns the loss before it. */
  async step(s: number): Promise<number> {
    const learningRate = this.#learningRate;
    return (await this.executable.trainStep(batchOf(s), { learningRate })).loss;
  }
}

function batchOf(step: number): TrainingBatch {
  const images = fillInput(`sgd_input_${step}`, BATCH);
  const labels = Int32Array.from({ length: BATCH[0] }, (_, i) => (step * 101 + i * 37) % 1000);
  return { images, labels };
}
