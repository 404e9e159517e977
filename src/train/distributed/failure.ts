/** What one process tells the others when the job ends because of it. */
import { EXIT_CODES, type ErrorKind, RepkitError } from "../../errors.js";

/** Travels as JSON. */
export interface FailureRecord {
  /** The process that failed, not the one that noticed. */
  readonly rank: number;
  readonly kind: ErrorKind;
  readonly message: string;
  /** Where it ran, as far as that is known: host and process. */
  readonly where: string | undefined;
  /** A signal ended it. */
  readonly isStop?: boolean | undefined;
}

/** The job ended because of another process; carries that one's exit code. */
export class PeerFailure extends RepkitError {
  readonly record: FailureRecord;

  constructor(record: FailureRecord) {
    const { rank, kind, message, where } = record;
    super(kind, `rank ${rank}${where === undefined ? "" : ` (${where})`}: ${message}`);
    this.name = "PeerFailure";
    this.record = record;
  }
}

/** This process's failure, for the others; `where` it runs. */
export function recordOf(error: unknown, rank: number, where: string | undefined): FailureRecord {
  if (error instanceof RepkitError)
    return { rank, kind: error.kind, message: error.message, where };
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { rank, kind: "internal", message, where };
}

/** Undefined for a text that is none. */
export function parseRecord(text: string): FailureRecord | undefined {
  let value: Partial<Record<keyof FailureRecord, unknown>>;
  try {
    value = Object(JSON.parse(text)) as typeof value;
  } catch {
    return undefined;
  }
  const { rank, kind, message, where, isStop } = value;
  if (!Number.isSafeInteger(rank) || typeof message !== "string") return undefined;
  return {
    rank: rank as number,
    kind: typeof kind === "string" && kind in EXIT_CODES ? (kind as ErrorKind) : "internal",
    message,
    where: typeof where === "string" ? where : undefined,
    isStop: isStop === true,
  };
}
