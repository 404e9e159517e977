// How an engine behaves, on networks small enough to know every number of.

import { describeBatches } from "./batches.js";
import { describeLifecycle } from "./lifecycle.js";
import { describeLosses } from "./losses.js";
import { describeOptimizer } from "./optimizer.js";
import { describeRefusals } from "./refusals.js";
import type { Subject } from "./subject.js";

export function describeBehaviour(subject: Subject): void {
  describeBatches(subject);
  describeRefusals(subject);
  if (subject.hasGradients === false) return;
  describeLosses(subject);
  describeOptimizer(subject);
  describeLifecycle(subject);
}
