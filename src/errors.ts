/**
 * The one family of errors that people and scripts see. Every error carries the exit code of
 * docs/cli.md, so that src/cli maps errors to exit codes in a single place.
 */

/** Exit codes of the command line; 130/143 (signals) are the command's own business. */
export const EXIT_CODES = {
  internal: 1,
  usage: 2,
  file: 3,
  verification: 4,
  notFoldable: 5,
  diverged: 6,
  environment: 7,
} as const;

export type ErrorKind = keyof typeof EXIT_CODES;

/** An error with one line that a person can act on. `details` may add machine-readable facts. */
export class RepkitError extends Error {
  readonly kind: ErrorKind;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    kind: ErrorKind,
    message: string,
    options: { cause?: unknown; details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "RepkitError";
    this.kind = kind;
    this.details = options.details ?? {};
  }

  get exitCode(): number {
    return EXIT_CODES[this.kind];
  }
}

/** Exit 2: a flag, name or option that cannot be used. */
export function usageError(message: string): RepkitError {
  return new RepkitError("usage", message);
}

/** Exit 2: the standard wording for one bad argument: expected what, for which name, got which value. */
export function invalidArgument(name: string, expected: string, received: unknown): RepkitError {
  return usageError(`${name}: expected ${expected}, received ${describe(received)}`);
}

/** Exit 3: a file that is missing, corrupt, unsafe or of the wrong kind. */
export function fileError(
  path: string,
  problem: string,
  options: { cause?: unknown; details?: Readonly<Record<string, unknown>> } = {},
): RepkitError {
  return new RepkitError("file", `${path}: ${problem}`, options);
}

function describe(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  if (Array.isArray(value)) return `[${value.map(describe).join(", ")}]`;
  if (typeof value === "object" && value !== null) return `an object`;
  return String(value);
}
