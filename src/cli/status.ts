/** The state of a long job on stderr: a bar that is drawn over on a terminal, lines elsewhere. */
import type { SingleBar } from "cli-progress";

export interface StatusUpdate {
  readonly what: string;
  readonly done: number;
  readonly total: number;
  /** What else there is to tell; may be empty. */
  readonly facts: string;
}

export interface Status {
  update(this: void, update: StatusUpdate): void;
  /** A line that stays. */
  message(this: void, text: string): void;
  /** The terminal's line is free again. An update after it starts anew. */
  stop(this: void): void;
}

/** With room for its facts beside it on most terminals. */
const BAR = { smallest: 8, largest: 30, facts: 72 } as const; // columns

export async function statusBar(stderr: NodeJS.WriteStream): Promise<Status> {
  const { default: cliProgress } = await import("cli-progress");
  const room = (stderr.columns ?? 80) - BAR.facts;
  let bar: SingleBar | undefined;
  const stop = () => {
    process.off("exit", stop);
    bar?.stop();
    bar = undefined;
  };
  const start = (update: StatusUpdate) => {
    const started = new cliProgress.SingleBar({
      format: "{what} [{bar}] {percentage}%{rest}",
      barsize: Math.min(BAR.largest, Math.max(BAR.smallest, room)),
      clearOnComplete: true,
      emptyOnZero: true,
      gracefulExit: false,
      hideCursor: true,
      stream: stderr,
    });
    // A process that a signal ends gives the terminal its cursor back.
    process.once("exit", stop);
    started.start(update.total, update.done, payload(update));
    return started;
  };
  return {
    update(update) {
      bar ??= start(update);
      bar.setTotal(update.total);
      bar.update(update.done, payload(update));
    },
    message(text) {
      stop();
      stderr.write(`${text}\n`);
    },
    stop,
  };
}

/** Writes the updates that have something to tell: every so many, and the last of each job. */
export function statusLines(stderr: Pick<NodeJS.WriteStream, "write">, every: number): Status {
  return {
    update({ what, done, total, facts }) {
      if (facts === "" || (done % every !== 0 && done !== total)) return;
      stderr.write(`${what} | ${done}/${total} | ${facts}\n`);
    },
    message(text) {
      stderr.write(`${text}\n`);
    },
    stop: () => undefined,
  };
}

function payload({ what, facts }: StatusUpdate) {
  return { what, rest: facts === "" ? "" : ` | ${facts}` };
}
