/** The job behind `repkit train`: everything around the loop, from the data to the report. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";

import { type JsonObject, loadCheckpoint } from "../checkpoint/index.js";
import type { Engine, Executable, LoadOptions } from "../engine/types.js";
import type { Evaluation } from "../evaluate/evaluate.js";
import { buildModel, type Model } from "../zoo/index.js";
import { Closing } from "./closing.js";
import type { TrainConfig } from "./config.js";
import { checkConversion } from "./conversion-check.js";
import { type TrainingData, trainingData, type ValidationData, validationData } from "./data.js";
import { insertBatchNorm } from "./insert-bn.js";
import { classNames, type Folders, type Loaders, openFolders, openLoaders } from "./open-data.js";
import type { Progress } from "./progress.js";
import { checkSameModel, type PreviousRun, previousRun, startOf } from "./resume.js";
import {
  type ConversionCheck,
  openLog,
  openMetrics,
  openRunDirectory,
  readMetrics,
  type RunDirectory,
  type RunLog,
  type TrainingObserver,
  writeReport,
} from "./run/index.js";
import { type StartingWeights, startingWeights, transferWeights } from "./starting-weights.js";
import { runTraining } from "./trainer.js";
import { trainingOptions } from "./training-options.js";

export interface TrainJob {
  readonly config: TrainConfig;
  /** A checkpoint to go on from, or `auto`: the run directory's, where there is one. */
  readonly resume: string | undefined;
  readonly engine: Engine;
  readonly observer: TrainingObserver;
  readonly logLevel: string;
  /** Told the images found so far, while the folders are scanned. */
  readonly onScan?: (files: number) => void;
  /** Called when they have been. */
  readonly onScanned?: () => void;
  /** Ends the run in order: the step in hand is finished and everything saved. */
  readonly stop: AbortSignal;
}

export interface TrainSummary {
  readonly directory: string;
  readonly epochs: number;
  readonly steps: number;
  readonly stopped: boolean;
  readonly best: Progress["best"];
  readonly evaluation: Evaluation | undefined;
  readonly conversion: ConversionCheck | undefined;
  readonly seconds: number;
}

/**
 * Trains, or goes on training, in a run directory of its own.
 * @throws RepkitError "usage" for settings that do not fit the data or the checkpoint; "file" for
 * data, weights or a run directory that cannot be used; "diverged"; "environment" from the engine
 */
export async function train(job: TrainJob): Promise<TrainSummary> {
  const closing = new Closing();
  let summary: TrainSummary;
  try {
    summary = await run(job, closing);
  } catch (error) {
    await closing.closeQuietly();
    throw error;
  }
  await closing.close();
  return summary;
}

/** Everything that can be refused without a trace is, before there is a run directory. */
async function run(job: TrainJob, closing: Closing): Promise<TrainSummary> {
  const { config, stop } = job;
  const folders = await openFolders(config, stop, job.onScan);
  job.onScanned?.();
  const model = modelOf(config, folders.train.classes.length);
  const loaders = openLoaders(config, folders, closing);
  const directory = closing.add(
    await openRunDirectory(config.out, { resume: job.resume !== undefined }),
    ({ close }) => close(),
  );
  const log = closing.add(openLog(directory.paths.log, job.logLevel), ({ close }) => close());
  const observer = logged(job.observer, log);
  for (const note of folders.notes) observer.message(note);
  try {
    return await runIn(directory, { job, folders, model, loaders, log, observer, closing });
  } catch (error) {
    if (!stop.aborted) log.logger.error(error, "training failed");
    throw error;
  }
}

interface OpenRun {
  readonly job: TrainJob;
  readonly folders: Folders;
  readonly model: Model;
  readonly loaders: Loaders;
  readonly log: RunLog;
  readonly observer: TrainingObserver;
  readonly closing: Closing;
}

async function runIn(directory: RunDirectory, open: OpenRun): Promise<TrainSummary> {
  const { job, folders, model, loaders, log, observer, closing } = open;
  const { config, engine, stop } = job;
  const started = performance.now();
  const previous = previousRun(job.resume, directory, closing, observer);
  const names = classNames(folders.train, model.numClasses);
  const data = trainingData(loaders.train, model.numClasses);
  const validation = validationData(loaders.val, folders.val.files.length);
  if (previous !== undefined) checkSameModel(previous.checkpoint, model);
  const start = startOf(config, previous, data.stepsPerEpoch, observer);
  if (config.emaDecay === null && isBest(previous, directory)) directory.markBest();

  const executable = closing.add(
    await loadForTraining(job, { model, classNames: names, data, previous, observer }),
    (loaded) => loaded.dispose(),
  );
  const averaged =
    config.emaDecay === null
      ? undefined
      : closing.add(
          await engine.load(
            model.graph,
            (await executable.state()).state,
            engineOptions(config, engine),
          ),
          (loaded) => loaded.dispose(),
        );
  directory.writeConfig({ ...config, numClasses: model.numClasses });
  const metrics = closing.add(openMetrics(directory.paths.metrics, start), ({ close }) => close());
  const report = (conversion?: ConversionCheck) => {
    writeReport(directory.paths.report, {
      title: `${model.arch} x ${model.block}`,
      settings: { ...config, numClasses: model.numClasses },
      metrics: readMetrics(directory.paths.metrics),
      stepsPerEpoch: data.stepsPerEpoch,
      conversion,
    });
  };
  log.logger.info({ config, engine: engine.description, start }, "training starts");
  const outcome = await runTraining(
    {
      ...{ config, executable, averaged, data, validation, directory, metrics, observer, start },
      identity: {
        model,
        classNames: names,
        config: config as unknown as JsonObject,
        stepsPerEpoch: data.stepsPerEpoch,
      },
      onEpoch: report,
    },
    stop,
  );
  const conversion =
    outcome.stopped || outcome.progress.best === undefined || !existsSync(directory.paths.best)
      ? undefined
      : await conversionOf(job, directory, outcome.progress.best.acc1, validation);
  if (outcome.progress.step > 0) report(conversion);
  const { epoch, step, best } = outcome.progress;
  const seconds = (performance.now() - started) / 1000;
  log.logger.info({ epoch, step, best, conversion, stopped: outcome.stopped }, "training ends");
  return {
    ...{
      directory: directory.paths.directory,
      epochs: epoch,
      steps: step,
      best,
      conversion,
      seconds,
    },
    ...{ stopped: outcome.stopped, evaluation: outcome.evaluation },
  };
}

/** Whether last.ckpt is the best one: a process killed right after saving it has not marked it as such. */
function isBest(previous: PreviousRun | undefined, { paths }: RunDirectory): boolean {
  if (previous === undefined || resolve(previous.checkpoint.path) !== resolve(paths.last)) {
    return false;
  }
  const { epoch, best, sums } = previous.progress;
  return best?.epoch === epoch && sums.images === 0;
}

function modelOf(config: TrainConfig, folders: number): Model {
  const { arch, block, imgSize: imageSize, custwd: customL2 } = config;
  const numClasses = config.numClasses ?? folders;
  return buildModel({ arch, block, structure: "train", numClasses, imageSize, customL2 });
}

function engineOptions(
  { device, precision, threads, deterministic }: TrainConfig,
  { devices }: Engine,
): LoadOptions {
  const best = devices.find((name) => name.startsWith("cuda")) ?? "cpu";
  return {
    ...{ precision, deterministic, device: device ?? best },
    ...(threads === null ? {} : { threads }),
  };
}

interface Beginning {
  readonly model: Model;
  readonly classNames: readonly string[] | undefined;
  readonly data: TrainingData;
  readonly previous: PreviousRun | undefined;
  readonly observer: TrainingObserver;
}

async function loadForTraining(job: TrainJob, beginning: Beginning): Promise<Executable> {
  const { config, engine } = job;
  const { model, previous, observer } = beginning;
  const options: LoadOptions = {
    ...engineOptions(config, engine),
    checkFinite: true,
    training: trainingOptions(config),
  };
  if (previous !== undefined) {
    const { momentum, ema } = previous;
    const executable = await engine.load(model.graph, previous.checkpoint.state, options);
    await executable.restore({
      ...(momentum === undefined ? {} : { momentum }),
      ...(ema === undefined || config.emaDecay === null ? {} : { ema }),
    });
    return executable;
  }
  const { state, notes } = await firstWeights(job, beginning);
  for (const note of notes) observer.message(note);
  return engine.load(model.graph, state, options);
}

async function firstWeights(
  { config, engine, stop }: TrainJob,
  { model, classNames: names, data }: Beginning,
): Promise<StartingWeights> {
  const { seed, pretrained } = config;
  const target = { model, seed, classNames: names };
  if (pretrained === null) return startingWeights(target);
  if (!config.insertBn) return startingWeights({ ...target, pretrained });
  const deployed = loadCheckpoint(pretrained, { imageSize: config.imgSize });
  try {
    const batches = data.epoch(0, { from: 0, signal: stop });
    const load = engineOptions(config, engine);
    const inserted = await insertBatchNorm({ deployed, engine, load, batches, seed });
    const source = { ...inserted, classNames: deployed.metadata?.classNames };
    const weights = transferWeights(source, target);
    const note = `batch norms inserted; their statistics are those of ${inserted.images} training images`;
    const notes = [...deployed.notes, note, ...inserted.notes, ...weights.notes];
    return { state: weights.state, notes };
  } finally {
    deployed.close();
  }
}

/** Of the best checkpoint, with the images of the validation. */
async function conversionOf(
  { config, engine, stop }: TrainJob,
  directory: RunDirectory,
  acc1: number,
  validation: ValidationData,
): Promise<ConversionCheck> {
  const best = loadCheckpoint(directory.paths.best);
  try {
    const trained = { graph: best.model.graph, state: best.state, acc1 };
    return await checkConversion(engine, engineOptions(config, engine), trained, validation, stop);
  } finally {
    best.close();
  }
}

/** Tells the log what people are told, step by step lines aside: those are in metrics.jsonl. */
function logged(observer: TrainingObserver, { logger }: RunLog): TrainingObserver {
  return {
    ...observer,
    message(text) {
      logger.warn(text);
      observer.message(text);
    },
    epochDone(epoch) {
      logger.info(epoch, "epoch done");
      observer.epochDone(epoch);
    },
  };
}
