/** train.log: pino's JSON lines, written as they come, so that a run that is killed loses none. */
import { closeSync, openSync, writeSync } from "node:fs";

import { pino, stdTimeFunctions, type Logger } from "pino";

import { systemFailure } from "./failure.js";

export interface RunLog {
  readonly logger: Logger;
  close(this: void): void;
}

/**
 * Appends to the file what is of the level (`trace` ... `fatal`, or `silent`) and above.
 *
 * NOTE: a line that cannot be written is lost. A full disk ends the run where it costs more than that:
 * when the next checkpoint is saved. (pino's own destination would try for ever.)
 */
export function openLog(path: string, level: string): RunLog {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, "a");
  } catch (error) {
    throw systemFailure(path, error);
  }
  const write = (line: string) => {
    try {
      if (descriptor !== undefined) writeSync(descriptor, line);
    } catch {
      // As the note says.
    }
  };
  return {
    logger: pino({ level, timestamp: stdTimeFunctions.isoTime }, { write }),
    close() {
      if (descriptor !== undefined) closeSync(descriptor);
      descriptor = undefined;
    },
  };
}
