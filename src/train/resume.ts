/** Going on with a run that was stopped. */
import { type LoadedCheckpoint, loadCheckpoint } from "../checkpoint/index.js";
import { fileError, usageError } from "../errors.js";
import type { Model } from "../zoo/index.js";
import type { Closing } from "./closing.js";
import type { TrainConfig } from "./config.js";
import { beginning, type Progress } from "./progress.js";
import type { RunDirectory, TrainingObserver } from "./run/index.js";
import { type StoppedRun, stoppedRun } from "./training-checkpoint.js";

export type PreviousRun = StoppedRun & { readonly checkpoint: LoadedCheckpoint };

export function previousRun(
  resume: string | undefined,
  directory: RunDirectory,
  closing: Closing,
  { message }: TrainingObserver,
): PreviousRun | undefined {
  if (resume === undefined) return undefined;
  if (resume === "auto" && !directory.hasCheckpoint()) {
    message(`${directory.paths.directory} has no last.ckpt yet: training starts at the beginning`);
    return undefined;
  }
  const path = resume === "auto" ? directory.paths.last : resume;
  const checkpoint = closing.add(loadCheckpoint(path), (open) => {
    open.close();
  });
  return { ...stoppedRun(checkpoint), checkpoint };
}

/** Settings that change how a run goes on, but not what comes out of it. */
export const FREE: ReadonlySet<string> = new Set<keyof TrainConfig>([
  ...(["data", "workers", "valBatchSize", "engine", "device", "threads", "distributed"] as const),
  ...(["out", "tag", "printFreq", "saveEverySteps", "keep", "maxSteps", "pretrained"] as const),
]);

/** Where to begin; a run that goes on is held against its settings. */
export function startOf(
  config: TrainConfig,
  previous: PreviousRun | undefined,
  stepsPerEpoch: number,
  { message }: TrainingObserver,
): Progress {
  if (previous === undefined) return beginning(stepsPerEpoch, config.startEpoch);
  const { progress, checkpoint } = previous;
  for (const [key, value] of Object.entries(config)) {
    const before = JSON.stringify(previous.config[key]);
    const now = JSON.stringify(value);
    if (FREE.has(key) || before === now) continue;
    message(`${key} was ${before ?? "not set"} in ${checkpoint.path}, and is ${now} from here on`);
  }
  if (previous.stepsPerEpoch === stepsPerEpoch) return progress;
  if (progress.step !== progress.epoch * previous.stepsPerEpoch) {
    throw usageError(
      `${checkpoint.path} stopped inside an epoch of ${previous.stepsPerEpoch} steps, and now there are ${stepsPerEpoch}: go on with the same data and --batch-size`,
    );
  }
  return { ...progress, step: progress.epoch * stepsPerEpoch };
}

export function checkSameModel({ path, model: found }: LoadedCheckpoint, wanted: Model): void {
  const name = ({ arch, block, structure, numClasses }: Model) =>
    `${arch} x ${block}, ${structure} structure, ${numClasses} classes`;
  if (name(found) !== name(wanted)) {
    throw fileError(path, `is ${name(found)}; this run trains ${name(wanted)}`);
  }
}
