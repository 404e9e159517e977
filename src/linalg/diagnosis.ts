/** What `repkit doctor` says about the native sums. */
import type { Addon } from "../addons/addon.js";
import { diagnoseOptional, type OptionalReport } from "../addons/diagnose-optional.js";
import { LINALG_ADDON } from "./addon.js";

export interface KernelReport extends Omit<OptionalReport, "description"> {
  /** Which of its kernels this CPU runs: `avx512`, `avx2`, `default`. */
  readonly instructions?: string;
}

export function diagnoseLinalg(
  env: NodeJS.ProcessEnv = process.env,
  addon: Addon = LINALG_ADDON,
): KernelReport {
  const { name, ok, description, ...rest } = diagnoseOptional(addon, env);
  if (!ok) return { name, ok, ...rest };
  const { instructions } = description as { instructions: string };
  return { name, ok, instructions, ...rest };
}
