/** The job behind `repkit train`: everything around the loop, from the data to the report. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";

import { type JsonObject, loadCheckpoint } from "../checkpoint/index.js";
import type { Engine, Executable, LoadOptions } from "../engine/types.js";
import type { Evaluation } from "../evaluate/evaluate.js";
import { initialState, type StateSource } from "../graph/index.js";
import { buildModel, type Model } from "../zoo/index.js";
import { Closing } from "./closing.js";
import type { TrainConfig } from "./config.js";
import { checkConversion } from "./conversion-check.js";
import { trainingData, type ValidationData, validationData } from "./data.js";
import { checkSame, factsOf } from "./distributed/facts.js";
import { asOneProcess, configAt } from "./distributed/place.js";
import { fromLeaderState } from "./distributed/shared-state.js";
import { ALONE, type Team } from "./distributed/team.js";
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
import { type Outcome, type RunFiles, runTraining } from "./trainer.js";
import { trainingOptions } from "./training-options.js";

export interface TrainJob {
  readonly config: TrainConfig;
  /** The processes that do it together. Default: this one alone. */
  readonly team?: Team;
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
async function run(told: TrainJob, closing: Closing): Promise<TrainSummary> {
  const { team = ALONE, stop, engine } = told;
  const { place } = team;
  const config = place === undefined ? told.config : configAt(told.config, place, engine.devices);
  const job = { ...told, config, team };
  team.at("scanning the images");
  const folders = await team.race(openFolders(config, stop, job.onScan));
  job.onScanned?.();
  const model = modelOf(config, folders.train.classes.length);
  const loaders = openLoaders(config, folders, closing, team);
  const remembered = asOneProcess(told.config, team.nodes);
  await checkSame(team, factsOf(remembered, folders));
  const common = { job, folders, model, loaders, closing, remembered };
  if (!team.isLeader) return runIn({ ...common, observer: job.observer, files: undefined });
  const directory = closing.add(
    await openRunDirectory(config.out, { resume: job.resume !== undefined }),
    ({ close }) => close(),
  );
  const log = closing.add(openLog(directory.paths.log, job.logLevel), ({ close }) => close());
  const observer = logged(job.observer, log);
  for (const note of folders.notes) observer.message(note);
  try {
    return await runIn({ ...common, observer, files: { directory, log } });
  } catch (error) {
    const cause = await team.explain(error);
    if (!stop.aborted) log.logger.error(cause, "training failed");
    throw cause;
  }
}

type TeamJob = TrainJob & Required<Pick<TrainJob, "team">>;

interface OpenRun {
  readonly job: TeamJob;
  /** The settings that checkpoints remember. */
  readonly remembered: TrainConfig;
  readonly folders: Folders;
  readonly model: Model;
  readonly loaders: Loaders;
  readonly observer: TrainingObserver;
  readonly closing: Closing;
  /** Of the leader. */
  readonly files: { readonly directory: RunDirectory; readonly log: RunLog } | undefined;
}

async function runIn(open: OpenRun): Promise<TrainSummary> {
  const { job, remembered, folders, model, loaders, files, observer, closing } = open;
  const { config, engine, stop, team } = job;
  const { directory, log } = files ?? {};
  const started = performance.now();
  const previous =
    directory === undefined ? undefined : previousRun(job.resume, directory, closing, observer);
  const names = classNames(folders.train, model.numClasses);
  const data = trainingData(loaders.train, model.numClasses);
  const validation = validationData(loaders.val, folders.val.files.length);
  if (previous !== undefined) checkSameModel(previous.checkpoint, model);
  const start = await team.fromLeader("start", () =>
    startOf(remembered, previous, data.stepsPerEpoch, observer),
  );
  if (directory !== undefined && config.emaDecay === null && isBest(previous, directory)) {
    directory.markBest();
  }

  const executable = closing.add(
    await loadForTraining(job, { model, classNames: names, loaders, previous, observer }),
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
  const output = files === undefined ? undefined : openOutput(open, files, start);
  log?.logger.info({ config, engine: engine.description, start }, "training starts");
  const outcome = await runTraining(
    {
      ...{ config, team, executable, averaged, data, validation, observer, start },
      files: output,
      identity: {
        model,
        classNames: names,
        config: remembered as unknown as JsonObject,
        stepsPerEpoch: data.stepsPerEpoch,
      },
      onEpoch: () => output?.report(),
    },
    stop,
  );
  // What is left is the leader's alone, and may take its time.
  await team.leave();
  const conversion =
    outcome.stopped || output === undefined
      ? undefined
      : await conversionOf(job, output.directory, outcome, () =>
          team.worldSize === 1
            ? validation
            : validationData(loaders.whole("val"), folders.val.files.length),
        );
  const { epoch: epochs, step: steps, best } = outcome.progress;
  if (steps > 0) output?.report(conversion);
  const { stopped, evaluation } = outcome;
  log?.logger.info({ epoch: epochs, step: steps, best, conversion, stopped }, "training ends");
  const seconds = (performance.now() - started) / 1000;
  return {
    ...{ directory: config.out, epochs, steps, best, conversion, seconds, stopped, evaluation },
  };
}

interface Output extends RunFiles {
  readonly report: (conversion?: ConversionCheck) => void;
}

/** What is written while a run lasts, besides its log. */
function openOutput(
  { job: { config }, model, loaders, closing }: OpenRun,
  { directory }: { readonly directory: RunDirectory },
  start: Progress,
): Output {
  const settings = { ...config, numClasses: model.numClasses };
  directory.writeConfig(settings);
  const { paths } = directory;
  const metrics = closing.add(openMetrics(paths.metrics, start), ({ close }) => close());
  const report = (conversion?: ConversionCheck) => {
    writeReport(paths.report, {
      title: `${model.arch} x ${model.block}`,
      settings,
      metrics: readMetrics(paths.metrics),
      stepsPerEpoch: loaders.train.batches,
      conversion,
    });
  };
  return { directory, metrics, report };
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
  readonly loaders: Loaders;
  readonly previous: PreviousRun | undefined;
  readonly observer: TrainingObserver;
}

/** The leader's state, velocities and averages, in every process. */
async function loadForTraining(job: TeamJob, beginning: Beginning): Promise<Executable> {
  const { config, engine, team } = job;
  const { model, previous } = beginning;
  const options: LoadOptions = {
    ...engineOptions(config, engine),
    checkFinite: true,
    training: trainingOptions(config),
    ...(team.group === undefined ? {} : { group: team.group }),
  };
  const state = previous?.checkpoint.state ?? (await firstWeights(job, beginning));
  await team.meet("load");
  const executable = await team.race(engine.load(model.graph, state, options));
  const { graph } = model;
  const momentum = await fromLeaderState(team, "momentum", graph, previous?.momentum);
  const ema =
    config.emaDecay === null ? undefined : await fromLeaderState(team, "ema", graph, previous?.ema);
  await executable.restore({
    ...(momentum === undefined ? {} : { momentum }),
    ...(ema === undefined ? {} : { ema }),
  });
  return executable;
}

async function firstWeights(job: TeamJob, beginning: Beginning): Promise<StateSource> {
  const { seed } = job.config;
  // What they have is replaced by the leader's.
  if (!job.team.isLeader) return initialState(beginning.model.graph, seed);
  const { state, notes } = await leaderWeights(job, beginning);
  for (const note of notes) beginning.observer.message(note);
  return state;
}

async function leaderWeights(
  { config, engine, stop, team }: TeamJob,
  { model, classNames: names, loaders }: Beginning,
): Promise<StartingWeights> {
  const { seed, pretrained } = config;
  const target = { model, seed, classNames: names };
  if (pretrained === null) return startingWeights(target);
  if (!config.insertBn) return startingWeights({ ...target, pretrained });
  const deployed = loadCheckpoint(pretrained, { imageSize: config.imgSize });
  try {
    const loader = team.worldSize === 1 ? loaders.train : loaders.whole("train");
    const data = trainingData(loader, model.numClasses);
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

/** Of the best checkpoint, where there is one, with the images of the validation. */
async function conversionOf(
  { config, engine, stop }: TrainJob,
  { paths }: RunDirectory,
  { progress }: Outcome,
  validation: () => ValidationData,
): Promise<ConversionCheck | undefined> {
  if (progress.best === undefined || !existsSync(paths.best)) return undefined;
  const best = loadCheckpoint(paths.best);
  try {
    const { acc1 } = progress.best;
    const trained = { graph: best.model.graph, state: best.state, acc1 };
    const options = engineOptions(config, engine);
    return await checkConversion(engine, options, trained, validation(), stop);
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
