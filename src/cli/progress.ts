/** Progress bars on stderr: on a terminal only, and not where the user wants silence. */
import type { CommonOptions } from "./options.js";

export interface Progress {
  update(this: void, done: number, total: number): void;
  /** Clears the bar; the line is free again. */
  stop(): void;
}

const SILENT: Progress = { update: () => undefined, stop: () => undefined };

export async function progressBar(what: string, options: CommonOptions): Promise<Progress> {
  if (!process.stderr.isTTY || options.quiet === true) return SILENT;
  const { default: cliProgress } = await import("cli-progress");
  const bar = new cliProgress.SingleBar({
    format: `${what} {bar} {value}/{total} {eta_formatted}`,
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
