/** A run directory's files that the system does not let us read or write. */
import { fileError } from "../../errors.js";
import { describeSystemError } from "../../util/system-error.js";

/** The system's error as one line that names the file (exit 3); any other error as it is. */
export function systemFailure(path: string, error: unknown): unknown {
  if ((error as { syscall?: unknown } | null)?.syscall === undefined) return error;
  return fileError(path, describeSystemError(error), { cause: error });
}
