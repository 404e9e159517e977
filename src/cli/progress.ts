/** Progress bars on stderr: on a terminal only, and not where the user wants silence. */
import type { CommonOptions } from "./options.js";

export interface Progress {
  update(this: void, done: number, total: number): void;
  /** Clears the bar; the line is free again. */
  stop(this: void): void;
}

const SILENT: Progress = { update: () => undefined, stop: () => undefined };

export async function progressBar(what: string, options: CommonOptions): Promise<Progress> {
  return bar(`${what} {bar} {value}/{total} {eta_formatted}`, options);
}

/** How many images a folder has, while they are being found. */
export async function scanCounter(
  options: CommonOptions,
): Promise<{ readonly update: (files: number) => void; readonly stop: () => void }> {
  const { update, stop } = await bar("scanning: {value} images", options);
  return {
    update: (files) => {
      update(files, files);
    },
    stop,
  };
}

async function bar(format: string, options: CommonOptions): Promise<Progress> {
  if (!process.stderr.isTTY || options.quiet === true) return SILENT;
  const { default: cliProgress } = await import("cli-progress");
  const bar = new cliProgress.SingleBar({
    format,
    clearOnComplete: true,
    hideCursor: true,
    stream: process.stderr,
  });
  let isRunning = false;
  const stop = () => {
    if (!isRunning) return;
    isRunning = false;
    process.off("exit", stop);
    bar.stop();
  };
  return {
    update(done, total) {
      if (!isRunning) {
        isRunning = true;
        // A process that a signal ends gives the terminal its cursor back.
        process.once("exit", stop);
        bar.start(total, done);
      }
      bar.update(done);
    },
    stop,
  };
}
