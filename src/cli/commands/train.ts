/** `repkit train`: settles what is asked, trains, and says what came of it. */
import { dirname } from "node:path";

import type { Command } from "commander";

import { RepkitError, usageError } from "../../errors.js";
import {
  ALONE,
  configAt,
  inTeam,
  findRecipe,
  ownPlace,
  PeerFailure,
  type Place,
  placesOfNode,
  readRecipe,
  resolveConfig,
  type Team,
  train,
  type TrainConfig,
  type TrainSummary,
} from "../../train/index.js";
import { freePort, launch } from "../launch.js";
import type { CommonOptions } from "../options.js";
import { scanCounter } from "../progress.js";
import { rankProcess, type RankProcess } from "../rank-process.js";
import { onFirstSignal, StoppedBySignal, type StopSignal } from "../signals.js";
import { followerProgress, trainingProgress } from "../training-progress.js";
import { type ChooseEngine, chooseInstalled, remark } from "./evaluation-options.js";
import { testCommand, type TestCommandOptions } from "./test.js";
import { trainRequest, type TrainRequest } from "./train-request.js";

export async function trainCommand(
  data: string | undefined,
  options: CommonOptions,
  command: Command,
  choose: ChooseEngine = chooseInstalled,
): Promise<void> {
  const request = trainRequest(data, command);
  const config = configOf(request);
  const child = rankProcess();
  if (child !== undefined) {
    await child.run(() => trainAt(child.place, { request, config, options, choose, child }));
    return;
  }
  const places = await placesToStart(config, choose);
  if (places.length > 1) {
    const [, ...commandLine] = process.argv;
    await launch({ places, commandLine, stderr: process.stderr });
    return;
  }
  await trainAt(places[0], { request, config, options, choose, child });
}

/** Of the processes that are to be started here; none for a process alone, one for this process itself. */
async function placesToStart(config: TrainConfig, choose: ChooseEngine): Promise<Place[]> {
  const { distributed, engine, device } = config;
  if (distributed === null) return [];
  const nproc = distributed.nproc ?? (device === "cpu" ? 0 : await gpuCount(engine, choose));
  if (nproc === 0) {
    throw new RepkitError(
      "environment",
      "--multiprocessing-distributed: there is no GPU; on CPUs say how many processes with --nproc N",
    );
  }
  if (nproc === 1 && distributed.worldSize === 1) return [];
  const url = distributed.url ?? `tcp://127.0.0.1:${await freePort()}`;
  return nproc === 1 ? [ownPlace(distributed, url)] : placesOfNode(distributed, nproc, url);
}

async function gpuCount(engine: string, choose: ChooseEngine): Promise<number> {
  const { devices } = await choose(engine);
  return devices.filter((name) => name.startsWith("cuda")).length;
}

interface TrainingCommand {
  readonly request: TrainRequest;
  readonly config: TrainConfig;
  readonly options: CommonOptions;
  readonly choose: ChooseEngine;
  readonly child: RankProcess | undefined;
}

/** Trains in this process, perhaps together with others. */
async function trainAt(place: Place | undefined, command: TrainingCommand): Promise<void> {
  const { request, config, options, choose, child } = command;
  const isLeader = (place?.rank ?? 0) === 0;
  if (request.evaluate && place === undefined) {
    await evaluateOnly(request, config, options, ALONE, choose);
    return;
  }
  const engine = await choose(config.engine, (note) => {
    if (isLeader) remark(options, `note: ${note}`);
  });
  const observer = isLeader
    ? await trainingProgress({ ...options, printFreq: config.printFreq })
    : followerProgress(options);
  const scan = await scanCounter(isLeader ? options : { ...options, quiet: true });
  const stop = new AbortController();
  let received: StopSignal | undefined;
  const onStop = (signal: StopSignal) => {
    if (received === undefined && isLeader) {
      observer.message("stopping after this step; once more to quit at once");
    }
    received ??= signal;
    stop.abort();
  };
  const signals = onFirstSignal(onStop);
  child?.onStop(onStop);
  const together = async <T>(work: (team: Team) => Promise<T>): Promise<T> => {
    if (place === undefined) return work(ALONE);
    const { device } = configAt(config, place, engine.devices);
    const backend = place.backend ?? (device === "cpu" ? "gloo" : "nccl");
    const there = { ...place, backend };
    return inTeam({ engine, place: there, stop: stop.signal, failed: child?.failed }, work);
  };
  let summary: TrainSummary | undefined;
  try {
    const { resume } = request;
    const { logLevel } = options;
    const scanning = { onScan: scan.update, onScanned: scan.stop };
    const job = { config, resume, engine, observer, logLevel, stop: stop.signal, ...scanning };
    summary = await together(async (team) => {
      if (!request.evaluate) return train({ ...job, team });
      await evaluateOnly(request, config, options, team, choose);
      return undefined;
    });
  } catch (error) {
    // Before the first step or after the last one: what there is to save is saved.
    const isStop =
      error === stop.signal.reason ||
      (error instanceof PeerFailure && error.record.isStop === true);
    if (received !== undefined && isStop) throw new StoppedBySignal(received);
    throw error;
  } finally {
    scan.stop();
    signals.release();
    observer.finished();
  }
  if (summary === undefined) return;
  if (isLeader) {
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify(asDocument(config, summary))}\n`
        : asText(config, summary),
    );
  }
  // A signal to one process stops them all.
  if (summary.stopped) throw new StoppedBySignal(received ?? "SIGTERM");
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
  team: Team,
  choose: ChooseEngine,
): Promise<void> {
  const weights = resume === "auto" ? `${config.out}/last.ckpt` : (resume ?? config.pretrained);
  if (weights === null) {
    throw usageError(
      "train --evaluate: expected weights (--resume or --pretrained), received none",
    );
  }
  const { place } = team;
  const own =
    place === undefined ? config : configAt(config, place, (await choose(config.engine)).devices);
  const testOptions: TestCommandOptions = {
    ...options,
    ...(place === undefined ? {} : { device: own.device ?? "cpu", threads: own.threads ?? 1 }),
    ...{ arch: config.arch, blocktype: config.block, imgSize: config.imgSize },
    ...{ valResize: config.valResize, workers: own.workers },
    batchSize: config.valBatchSize * team.nodes,
    onBadImage: config.onBadImage,
    ...(config.lenient ? { lenient: true as const } : {}),
  };
  const share = place === undefined ? undefined : team;
  await testCommand([config.data, "train", weights], testOptions, choose, share);
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
