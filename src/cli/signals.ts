/** What SIGINT and SIGTERM do. */

/** Exit codes that a shell would report. */
export const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

export type StopSignal = keyof typeof SIGNAL_CODES;

type Handler = (signal: StopSignal) => void;

/**
 * Listeners run between two turns of the event loop. What is under way then is not put in place, and the
 * exit removes temporary files.
 */
const exit: Handler = (signal) => process.exit(SIGNAL_CODES[signal]);

let handler = exit;

export function listenToSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => handler(signal));
}

/** Until `release` the first signal calls `stop`, which ends the work in order; the second one ends the process. */
export function onFirstSignal(stop: Handler): { readonly release: () => void } {
  handler = (signal) => {
    handler = exit;
    stop(signal);
  };
  return {
    release: () => {
      handler = exit;
    },
  };
}

/** The work was ended in order; the process reports the signal. */
export class StoppedBySignal extends Error {
  readonly signal: StopSignal;

  constructor(signal: StopSignal) {
    super(`stopped by ${signal}`);
    this.name = "StoppedBySignal";
    this.signal = signal;
  }
}

/** The work failed, and somebody else tells people of it; the process reports the exit code. */
export class Reported extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`ended with exit code ${exitCode}`);
    this.name = "Reported";
    this.exitCode = exitCode;
  }
}
