/** For jobs that sum a lot. Apart from the sums, since looking for an addon loads much that most commands do without. */
import { linalgAddon } from "./addon.js";
import { takeSums } from "./index.js";

/** Sums natively from now on, in this thread, where the addon is built. */
export function useNativeSums(): void {
  takeSums(linalgAddon());
}
