/** One of the processes that a launcher (launch.ts) started: its place, and what it is told. */
import { EXIT_CODES } from "../errors.js";
import { type FailureRecord, PeerFailure, type Place, recordOf } from "../train/index.js";
import { type LauncherMessage, PLACE_VARIABLE } from "./launch-messages.js";
import { Reported, StoppedBySignal, type StopSignal } from "./signals.js";

export interface RankProcess {
  readonly place: Place;
  /** Aborts when the launcher says that another process of this node has failed: a PeerFailure. */
  readonly failed: AbortSignal;
  /** Calls back when the launcher passes on a signal, or has itself ended. */
  onStop(this: void, stop: (signal: StopSignal) => void): void;
  /** Does the work; the launcher is told of its failure, and tells people. */
  run(this: void, work: () => Promise<void>): Promise<void>;
}

/** Undefined where no launcher started this process. */
export function rankProcess(): RankProcess | undefined {
  const text = process.env[PLACE_VARIABLE];
  if (text === undefined || process.send === undefined) return undefined;
  // Commands that this one starts are not processes of the job.
  delete process.env[PLACE_VARIABLE];
  const place = JSON.parse(text) as Place;
  const failed = new AbortController();
  let [stop, received] = [undefined as ((signal: StopSignal) => void) | undefined, ""];
  const stopBy = (signal: StopSignal) => {
    received = signal;
    stop?.(signal);
  };
  process.on("message", (message: LauncherMessage) => {
    if (message.kind === "stop") stopBy(message.signal);
    else failed.abort(new PeerFailure(message.failure));
  });
  process.on("disconnect", () => {
    stopBy("SIGTERM");
  });
  process.channel?.unref();
  return {
    place,
    failed: failed.signal,
    onStop(listener) {
      stop = listener;
      if (received !== "") listener(received as StopSignal);
    },
    async run(work) {
      try {
        await work();
      } catch (error) {
        if (error instanceof StoppedBySignal) throw error;
        const isPeer = error instanceof PeerFailure;
        const failure = isPeer ? error.record : recordOf(error, place.rank, undefined);
        await send(failure);
        throw new Reported(EXIT_CODES[failure.kind]);
      }
    },
  };
}

function send(failure: FailureRecord): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) {
      process.stderr.write(`error: ${failure.message}\n`);
      resolve();
      return;
    }
    process.send({ failure }, undefined, undefined, () => {
      resolve();
    });
  });
}
