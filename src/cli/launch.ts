/**
 * The processes of a distributed job on this node: the same command line again, once for each, told its
 * place in the environment. They end together: a signal to this process stops them all in order, and
 * the failure of one is told to the others and, once, to people.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

import { EXIT_CODES, type ErrorKind, RepkitError } from "../errors.js";
import { type FailureRecord, PeerFailure, type Place } from "../train/index.js";
import { type ChildMessage, type LauncherMessage, PLACE_VARIABLE } from "./launch-messages.js";
import { onFirstSignal, SIGNAL_CODES, StoppedBySignal, type StopSignal } from "./signals.js";

export interface LaunchOptions {
  readonly places: readonly Place[];
  /** Of this node process: what it was started with, without node. */
  readonly commandLine: readonly string[];
  readonly stderr: Pick<NodeJS.WriteStream, "write">;
}

/** For those that still run when one has failed; they know of it, and need no more than this. */
const GRACE = { shortest: 5, longest: 15 } as const; // seconds

/**
 * Runs the processes to their end.
 * @throws the failure of the first that failed, with its exit code; StoppedBySignal
 */
export async function launch(options: LaunchOptions): Promise<void> {
  const launched = new Launch(options);
  const signals = onFirstSignal((signal) => {
    launched.stop(signal);
    // The second one ends this process, and these with it.
    process.once("exit", () => {
      launched.kill();
    });
  });
  try {
    await launched.run();
  } finally {
    signals.release();
  }
}

/** A port that nobody uses. Somebody may take it before the leader does; then the leader says so. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => {
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  });
}

interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

class Launch {
  readonly #options: LaunchOptions;
  readonly #running = new Map<Place, ChildProcess>();
  #failure: FailureRecord | undefined;
  /** Whether the failure is its own process's, and not what another one was told of it. */
  #isCertain = false;
  #received: StopSignal | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Whether those that had not ended by themselves were killed: no failure of theirs. */
  #hasKilled = false;

  constructor(options: LaunchOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const codes = await Promise.all(this.#options.places.map((place) => this.#start(place)));
    clearTimeout(this.#timer);
    if (this.#failure !== undefined) throw asError(this.#failure);
    const stopped = (["SIGINT", "SIGTERM"] as const).find((signal) =>
      codes.includes(SIGNAL_CODES[signal]),
    );
    if (stopped !== undefined) throw new StoppedBySignal(this.#received ?? stopped);
  }

  stop(signal: StopSignal): void {
    this.#received = signal;
    this.#tell({ kind: "stop", signal });
  }

  kill(): void {
    this.#hasKilled = true;
    for (const child of this.#running.values()) child.kill("SIGKILL");
  }

  /** Resolves with its exit code, when it has ended. */
  async #start(place: Place): Promise<number | null> {
    const isFirst = place.localRank === 0;
    const child = spawn(process.execPath, [...process.execArgv, ...this.#options.commandLine], {
      env: { ...process.env, [PLACE_VARIABLE]: JSON.stringify(place) },
      stdio: ["ignore", isFirst ? "inherit" : "ignore", isFirst ? "inherit" : "pipe", "ipc"],
      // A group of its own: a terminal's Ctrl-C comes to this process alone, which passes it on once.
      detached: true,
    });
    this.#running.set(place, child);
    let hasReported = false;
    child.on("message", (message: ChildMessage) => {
      hasReported = true;
      this.#failed(place, message.failure);
    });
    if (child.stderr !== null) {
      createInterface({ input: child.stderr }).on("line", (line) => {
        this.#options.stderr.write(`[rank ${place.rank}] ${line}\n`);
      });
    }
    const { code, signal } = await ending(child);
    this.#running.delete(place);
    if (signal !== null && this.#hasKilled) return code;
    if (signal !== null) {
      const where = `process ${child.pid}`;
      const message = `was killed by ${signal}`;
      this.#failed(place, { rank: place.rank, kind: "environment", message, where });
    } else if (code !== 0 && !isStop(code) && !hasReported) {
      const message = `ended with exit code ${code}`;
      this.#failed(place, { rank: place.rank, kind: kindOf(code), message, where: undefined });
    }
    return code;
  }

  #failed(place: Place, failure: FailureRecord): void {
    const isOwn = failure.rank === place.rank;
    if (this.#failure === undefined || (isOwn && !this.#isCertain)) this.#failure = failure;
    this.#isCertain ||= isOwn;
    if (this.#timer !== undefined) return;
    this.#tell({ kind: "failed", failure: this.#failure });
    const seconds = Math.min(GRACE.longest, Math.max(GRACE.shortest, place.timeoutSeconds / 4));
    this.#timer = setTimeout(() => {
      this.kill();
    }, 1000 * seconds);
  }

  #tell(message: LauncherMessage): void {
    for (const child of this.#running.values()) {
      // One that has just ended hears nothing.
      if (child.connected) child.send(message, () => undefined);
    }
  }
}

/** The leader's own failure reads as that of a process alone. */
function asError(record: FailureRecord): RepkitError {
  const isAlone = record.rank === 0 && record.where === undefined;
  return isAlone ? new RepkitError(record.kind, record.message) : new PeerFailure(record);
}

function ending(child: ChildProcess): Promise<Ending> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      resolve({ code, signal });
    });
  });
}

function isStop(code: number | null): boolean {
  return Object.values(SIGNAL_CODES).some((stopped) => stopped === code);
}

function kindOf(code: number | null): ErrorKind {
  const kinds = Object.keys(EXIT_CODES) as ErrorKind[];
  return kinds.find((kind) => EXIT_CODES[kind] === code) ?? "internal";
}
