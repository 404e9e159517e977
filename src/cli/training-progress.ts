/**
 * What people see of a training run: a progress bar on a terminal, otherwise a line now and then,
 * both on stderr; and at its end a table of its epochs on stdout.
 */
import {
  SILENT_OBSERVER,
  type EpochDone,
  type EpochStart,
  type StepDone,
  type TrainingObserver,
} from "../train/run/index.js";
import type { CommonOptions } from "./options.js";
import { RemainingTime } from "./remaining-time.js";
import { statusBar, statusLines } from "./status.js";
import { formatTable } from "./table.js";

export interface TrainingProgressOptions extends Pick<CommonOptions, "json" | "quiet"> {
  /** Without a terminal: a line every so many steps, and one for the last step of an epoch. */
  readonly printFreq: number;
}

export interface Terminal {
  readonly stdout: Pick<NodeJS.WriteStream, "write">;
  readonly stderr: NodeJS.WriteStream;
}

/**
 * With `quiet` it shows nothing; with `json`, stdout is left to the command. `finished` must be called
 * whatever happens: until then the bar keeps the process alive.
 */
export async function trainingProgress(
  options: TrainingProgressOptions,
  { stdout, stderr }: Terminal = process,
): Promise<TrainingObserver> {
  if (options.quiet === true) return SILENT_OBSERVER;
  const status =
    stderr.isTTY && process.env["TERM"] !== "dumb"
      ? await statusBar(stderr)
      : statusLines(stderr, options.printFreq);
  const finishedEpochs: EpochDone[] = [];
  const remaining = new RemainingTime();
  let current: EpochStart | undefined;
  const show = (job: string, done: number, total: number, facts: string) => {
    if (current === undefined) return;
    status.update({ what: `epoch ${current.epoch}/${current.epochs}${job}`, done, total, facts });
  };
  return {
    epochStarted(epoch) {
      current = epoch;
      remaining.epochStarted(epoch);
      show("", epoch.done, epoch.steps, "");
    },
    step(step) {
      remaining.step(step);
      const facts = `${stepFacts(step)} | eta ${formatClock(remaining.seconds())}`;
      show("", step.step, current?.steps ?? 0, facts);
    },
    validation: (done, total) => show(" validation", done, total, ""),
    epochDone(epoch) {
      finishedEpochs.push(epoch);
      remaining.epochDone(epoch);
      status.message(
        `epoch ${epoch.epoch}/${current?.epochs ?? epoch.epoch} done | ${epochFacts(epoch)}`,
      );
    },
    message: status.message,
    finished() {
      status.stop();
      if (options.json !== true && finishedEpochs.length > 0) {
        stdout.write(epochTable(finishedEpochs));
      }
    },
  };
}

/** Of a process that does not lead: what it has to say in particular. */
export function followerProgress(
  { quiet }: Pick<CommonOptions, "quiet">,
  stderr: Pick<NodeJS.WriteStream, "write"> = process.stderr,
): TrainingObserver {
  if (quiet === true) return SILENT_OBSERVER;
  return { ...SILENT_OBSERVER, message: (text) => void stderr.write(`${text}\n`) };
}

function stepFacts({ loss, acc1, imagesPerSecond, dataSeconds, stepSeconds }: StepDone): string {
  const wait = stepSeconds > 0 ? (100 * dataSeconds) / stepSeconds : 0;
  return (
    `loss ${loss.toFixed(3)} acc1 ${acc1.toFixed(2)} | ` +
    `${imagesPerSecond.toFixed(imagesPerSecond < 10 ? 1 : 0)} img/s | data wait ${wait.toFixed(0)}%`
  );
}

function epochFacts({ trainLoss, validation, seconds }: EpochDone): string {
  const time = `${seconds.toFixed(1)} s`;
  if (validation === undefined) return `train loss ${trainLoss.toFixed(4)} | ${time}`;
  const { loss, acc1, acc5, best } = validation;
  return (
    `train loss ${trainLoss.toFixed(4)} val loss ${loss.toFixed(4)} | ` +
    `acc1 ${acc1.toFixed(2)} (best ${best.toFixed(2)}) acc5 ${acc5.toFixed(2)} | ${time}`
  );
}

/** One row per epoch of this run. */
function epochTable(epochs: readonly EpochDone[]): string {
  const titles = ["EPOCH", "TRAIN LOSS", "VAL LOSS", "ACC1", "ACC5", "LR", "SECONDS"];
  return formatTable(
    titles.map((title) => ({ title, align: "right" })),
    epochs.map(({ epoch, trainLoss, validation, lr, seconds }) => [
      ...[String(epoch), trainLoss.toFixed(4), validation?.loss.toFixed(4) ?? "-"],
      ...[validation?.acc1.toFixed(2) ?? "-", validation?.acc5.toFixed(2) ?? "-"],
      ...[String(Number(lr.toPrecision(4))), seconds.toFixed(1)],
    ]),
  );
}

/** 192 → `03:12`, 3792 → `1:03:12` */
function formatClock(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return `${hours > 0 ? `${hours}:` : ""}${two(minutes)}:${two(whole % 60)}`;
}
