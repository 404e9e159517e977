/** The command line: runs a command and turns how it ends into an exit code. */
import { CommanderError } from "commander";

import { EXIT_CODES, RepkitError } from "../errors.js";
import { oneLine, program } from "./program.js";
import { listenToSignals, Reported, SIGNAL_CODES, StoppedBySignal } from "./signals.js";

/** Runs one command line (without node and script). Returns the exit code of docs/cli.md. */
export async function main(argv: readonly string[]): Promise<number> {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // The reader of a pipe (`| head`) may leave early; that is no failure.
    if (error.code !== "EPIPE") throw error;
  });
  listenToSignals();
  try {
    await program().parseAsync([...argv], { from: "user" });
    return 0;
  } catch (error) {
    return report(error);
  }
}

/** Says what went wrong in one line on stderr, and returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has printed its message already; --help and --version "fail" with 0.
    return error.exitCode === 0 ? 0 : EXIT_CODES.usage;
  }
  if (error instanceof RepkitError) {
    // A list of problems, as of a recipe, keeps its lines.
    const isList = "problems" in error.details;
    process.stderr.write(isList ? `error: ${error.message}\n` : oneLine(`error: ${error.message}`));
    return error.exitCode;
  }
  if (error instanceof Reported) return error.exitCode;
  if (error instanceof StoppedBySignal) return SIGNAL_CODES[error.signal];
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`internal error: ${message}\n`);
  return EXIT_CODES.internal;
}
