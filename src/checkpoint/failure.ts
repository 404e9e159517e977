/** The one kind of error that reading a weights file ends with, and its machine-readable reasons. */
import { fileError, type RepkitError } from "../errors.js";
import { printable } from "../util/printable.js";

export { printable };

export type ReadFailure =
  | "unreadable" // no such file, no permission, not a regular file
  | "empty"
  | "not-a-checkpoint"
  | "truncated"
  | "corrupt"
  | "storage-size" // fewer bytes than the tensors need
  | "storage-missing"
  | "unsafe-pickle"
  | "unsupported" // well formed, but beyond what is read here
  | "unrecognised" // weights, but of no network that is known, or not quite
  | "other-model" // weights of another network than was asked for
  | "contradiction"; // the metadata says one thing and the tensors another

/** Facts besides the reason, such as `tensor`, `shape`, `bytesNeeded`, `bytesPresent`, `globals`. */
export type FailureFacts = Readonly<Record<string, unknown>>;

/** Exit 3, with `details.reason`. */
export function readFailure(
  path: string,
  reason: ReadFailure,
  problem: string,
  facts: FailureFacts = {},
): RepkitError {
  return fileError(path, printable(problem), { details: { reason, ...facts } });
}
