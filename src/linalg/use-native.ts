/** For jobs that sum a lot. Apart from the sums, since looking for an addon loads much that most commands do without. */
import { availableParallelism } from "node:os";

import { linalgAddon } from "./addon.js";
import { takeSums } from "./index.js";

/** Sums natively from now on, in this thread, where the addon is built; large products on `threads`. */
export function useNativeSums(threads: number = availableParallelism()): void {
  const addon = linalgAddon();
  addon?.setThreads(Math.max(threads, 1));
  takeSums(addon);
}
