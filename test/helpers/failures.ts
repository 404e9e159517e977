// Errors as data: what a call was refused with.

import { RepkitError, type ErrorKind } from "../../src/errors.js";

export interface Failure {
  kind: ErrorKind;
  message: string;
  details: Readonly<Record<string, unknown>>;
}

/** What a call was refused with; a bug's error passes through, and going through is one. */
export async function failureOf(call: () => unknown): Promise<Failure> {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof RepkitError)) throw error;
    const { kind, message, details } = error;
    return { kind, message, details };
  }
  throw new Error("expected a failure, but the call went through");
}
