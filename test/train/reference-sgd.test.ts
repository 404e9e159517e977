// The reference's five steps of SGD, through everything that `repkit train` does but the images' files:
// settings, weights from a file, the loop, metrics and checkpoints.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, it } from "@jest/globals";

import { openTensorFile, saveCheckpoint } from "../../src/checkpoint/index.js";
import type { Engine } from "../../src/engine/types.js";
import type { TrainingData } from "../../src/train/data.js";
import { beginning } from "../../src/train/progress.js";
import { resolveConfig } from "../../src/train/resolve-config.js";
import {
  openMetrics,
  openRunDirectory,
  readMetrics,
  SILENT_OBSERVER,
} from "../../src/train/run/index.js";
import { startingWeights } from "../../src/train/starting-weights.js";
import { runTraining } from "../../src/train/trainer.js";
import { trainingOptions } from "../../src/train/training-options.js";
import { buildModel } from "../../src/zoo/index.js";
import { norm } from "../engine/conformance/distances.js";
import { fillInput, filledState } from "../helpers/fill.js";
import { type ModelReference, readModel } from "../helpers/fixtures.js";
import { describeTorch } from "../helpers/torch-engine.js";

/** The bounds of the engines' own conformance suite in fp64. */
const EXACT = { loss: 1e-6, parameter: 1e-4 } as const;
const BATCH = [4, 3, 64, 64] as const;
const TIMEOUT = 300_000; // ms

const folder = mkdtempSync(join(tmpdir(), "repkit-sgd-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The reference's batches in place of a folder of images. */
function referenceData(steps: number): TrainingData {
  return {
    stepsPerEpoch: steps,
    async *epoch(_epoch, { from }) {
      for (let s = from; s < steps; s++) {
        yield {
          images: fillInput(`sgd_input_${s}`, BATCH),
          labels: Int32Array.from({ length: BATCH[0] }, (_, i) => (s * 101 + i * 37) % 1000),
          ...{ count: BATCH[0], waitSeconds: 0, bad: [], release: () => undefined },
        };
      }
    },
  };
}

function configOf(name: string, { arch, block, sgd }: ModelReference) {
  const { lr, momentum, weight_decay: weightDecay } = sgd!.optimizer;
  const out = join(folder, name);
  return resolveConfig({
    flags: {
      ...{ arch, blocktype: block, out, pretrained: `${out}.ckpt`, "img-size": 64, epochs: 1 },
      ...{ lr, schedule: "constant", "warmup-epochs": 0, momentum, nesterov: false },
      ...{ "weight-decay": weightDecay, "decay-rule": "all", "print-freq": 1 },
    },
  });
}

async function train(engine: Engine, name: string, reference: ModelReference) {
  const config = configOf(name, reference);
  const model = buildModel({ ...reference, imageSize: config.imgSize });
  saveCheckpoint(config.pretrained!, { model, state: filledState(model.graph) });
  const { state } = startingWeights({ model, seed: 0, pretrained: config.pretrained! });
  const training = trainingOptions(config);
  const executable = await engine.load(model.graph, state, { precision: "fp64", training });
  const data = referenceData(reference.sgd!.losses_f64.length);
  const directory = await openRunDirectory(config.out, { resume: false });
  const start = beginning(data.stepsPerEpoch, 0);
  const metrics = openMetrics(directory.paths.metrics, start);
  try {
    await runTraining(
      {
        ...{ config, executable, data, start, files: { directory, metrics } },
        ...{ averaged: undefined, validation: undefined, observer: SILENT_OBSERVER },
        identity: { model, classNames: undefined, config: {}, stepsPerEpoch: data.stepsPerEpoch },
      },
      new AbortController().signal,
    );
  } finally {
    metrics.close();
    directory.close();
    await executable.dispose();
  }
  return directory.paths;
}

describeTorch("the first five losses of training from the reference fill, fp64", (engine) => {
  it.each([
    "dbb__ResNet-18__base",
    "dbb__ResNet-18__DBB",
    "orepa__ResNet-18__OREPA",
    "repvgg__RepVGG-A0__RepVGG",
  ])(
    "%s",
    async (name) => {
      const reference = readModel(name);
      const { losses_f64: expected, params_after } = reference.sgd!;
      const paths = await train(engine, name, reference);
      const steps = readMetrics(paths.metrics).filter((line) => line.kind === "step");
      const losses = steps.map(({ loss }) => loss!);
      expect(losses.length).toBe(expected.length);
      const distances = losses.map((loss, s) => Math.abs(loss / expected[s]! - 1));
      expect(Math.max(...distances)).toBeLessThan(EXACT.loss);
      // What the run saved is what the reference ended with.
      const file = openTensorFile(paths.last);
      const wrong = Object.entries(params_after).filter(([parameter, { l2_f64 }]) => {
        const distance = Math.abs(norm(file.get(parameter)!) - l2_f64);
        return !(distance <= EXACT.parameter * l2_f64);
      });
      file.close();
      expect(wrong).toEqual([]);
      rmSync(paths.directory, { recursive: true });
    },
    TIMEOUT,
  );
});
