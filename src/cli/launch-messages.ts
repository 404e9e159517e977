/** What the processes of a node and the one that started them tell each other. */
import type { FailureRecord } from "../train/index.js";
import type { StopSignal } from "./signals.js";

/** The environment variable with a process's place, as JSON. */
export const PLACE_VARIABLE = "REPKIT_PLACE";

export type LauncherMessage =
  | { readonly kind: "stop"; readonly signal: StopSignal }
  /** Another process has failed. */
  | { readonly kind: "failed"; readonly failure: FailureRecord };

export interface ChildMessage {
  /** Its own, or that of another process, because of which it ends. */
  readonly failure: FailureRecord;
}
