/** `repkit train`: settles what is asked, trains, and says what came of it. */
import { dirname } from "node:path";

import type { Command } from "commander";

import { usageError } from "../../errors.js";
import {
  findRecipe,
  readRecipe,
  resolveConfig,
  train,
  type TrainConfig,
  type TrainSummary,
} from "../../train/index.js";
import type { CommonOptions } from "../options.js";
import { scanCounter } from "../progress.js";
import { onFirstSignal, StoppedBySignal, type StopSignal } from "../signals.js";
import { trainingProgress } from "../training-progress.js";
import { type ChooseEngine, chooseInstalled, remark } from "./evaluation-options.js";
import { testCommand } from "./test.js";
import { trainRequest, type TrainRequest } from "./train-request.js";

export async function trainCommand(
  data: string | undefined,
  options: CommonOptions,
  command: Command,
  choose: ChooseEngine = chooseInstalled,
): Promise<void> {
  const request = trainRequest(data, command);
  const config = configOf(request);
  if (config.distributed !== null) {
    throw usageError(
      "train: several processes are not supported yet; leave out the distributed flags",
    );
  }
  if (request.evaluate) {
    await evaluateOnly(request, config, options);
    return;
  }
  const engine = await choose(config.engine, (note) => remark(options, `note: ${note}`));
  const observer = await trainingProgress({ ...options, printFreq: config.printFreq });
  const scan = await scanCounter(options);
  const stop = new AbortController();
  let received: StopSignal | undefined;
  const signals = onFirstSignal((signal) => {
    received = signal;
    observer.message("stopping after this step; once more to quit at once");
    stop.abort();
  });
  let summary: TrainSummary;
  try {
    const { resume } = request;
    const { logLevel } = options;
    const scanning = { onScan: scan.update, onScanned: scan.stop };
    const job = { config, resume, engine, observer, logLevel, stop: stop.signal, ...scanning };
    summary = await train(job);
  } catch (error) {
    // Before the first step or after the last one: what there is to save is saved.
    if (received !== undefined && error === stop.signal.reason) throw new StoppedBySignal(received);
    throw error;
  } finally {
    scan.stop();
    signals.release();
    observer.finished();
  }
  process.stdout.write(
    options.json === true
      ? `${JSON.stringify(asDocument(config, summary))}\n`
      : asText(config, summary),
  );
  if (received !== undefined && summary.stopped) throw new StoppedBySignal(received);
}

/** A run that goes on from a checkpoint stays in its directory, unless another one is asked for. */
function configOf({ config: file, flags, resume }: TrainRequest): TrainConfig {
  const recipe = file === undefined ? {} : readRecipe(findRecipe(file));
  const isElsewhere = [flags, recipe].some(
    ({ out, tag }) => out !== undefined || tag !== undefined,
  );
  const stays = resume !== undefined && resume !== "auto" && !isElsewhere;
  return resolveConfig({
    recipe,
    flags: stays ? { ...flags, out: dirname(resume) } : flags,
    environment: process.env,
  });
}

/** The reference scripts' `-e`: `repkit test` of the weights that training would start from. */
async function evaluateOnly(
  { resume }: TrainRequest,
  config: TrainConfig,
  options: CommonOptions,
): Promise<void> {
  const weights = resume === "auto" ? `${config.out}/last.ckpt` : (resume ?? config.pretrained);
  if (weights === null) {
    throw usageError(
      "train --evaluate: expected weights (--resume or --pretrained), received none",
    );
  }
  await testCommand([config.data, "train", weights], {
    ...options,
    ...{ arch: config.arch, blocktype: config.block, imgSize: config.imgSize },
    ...{ valResize: config.valResize, batchSize: config.valBatchSize, workers: config.workers },
    onBadImage: config.onBadImage,
    ...(config.lenient ? { lenient: true as const } : {}),
  });
}

function asDocument({ arch, block }: TrainConfig, summary: TrainSummary) {
  const { best, evaluation, conversion } = summary;
  return {
    ...{ arch, block, directory: summary.directory, stopped: summary.stopped },
    ...{ epochs: summary.epochs, steps: summary.steps, seconds: summary.seconds },
    best_acc1: best?.acc1 ?? null,
    best_epoch: best?.epoch ?? null,
    ...{ acc1: evaluation?.acc1 ?? null, acc5: evaluation?.acc5 ?? null },
    val_loss: evaluation?.loss ?? null,
    conversion:
      conversion === undefined
        ? null
        : {
            ...{ max_abs_diff: conversion.maxAbsDiff, tolerance: conversion.tolerance },
            ...{ acc1_before: conversion.accBefore, acc1_after: conversion.accAfter },
            ...{ params_train: conversion.paramsTrain, params_deploy: conversion.paramsDeploy },
            ok: conversion.ok,
          },
  };
}

function asText({ arch, block }: TrainConfig, summary: TrainSummary): string {
  const { directory, best, conversion, epochs, steps, stopped } = summary;
  const lines = [
    `${arch} x ${block}: ${stopped ? "stopped" : "trained"} after ${epochs} epochs, ${steps} steps; ${directory}`,
    ...(best === undefined ? [] : [`best top-1 ${best.acc1.toFixed(2)} in epoch ${best.epoch}`]),
    ...(conversion === undefined
      ? []
      : [
          `deployed: top-1 ${conversion.accAfter?.toFixed(2) ?? "-"}, logits differ by ${conversion.maxAbsDiff.toExponential(1)} ` +
            `(${conversion.ok ? "within" : "ABOVE"} ${conversion.tolerance.toExponential(1)})`,
        ]),
    ...(stopped ? [`go on with: repkit train ... --resume auto`] : []),
  ];
  return `${lines.join("\n")}\n`;
}
