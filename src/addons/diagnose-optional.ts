/** What `repkit doctor` says about addons that everything works without. */
import { type Addon, buildCommandOf, type Problem } from "./addon.js";
import { diagnoseCompiler } from "./compiler.js";
import { findOptional, variableOf } from "./optional.js";
import { probeAddon } from "./probe.js";

export interface OptionalReport {
  readonly name: string;
  readonly ok: boolean;
  /** What it says of itself, where it loads. */
  readonly description?: unknown;
  /** The file that is loaded. */
  readonly path?: string;
  /** Why the slower way is taken. */
  readonly problems: readonly Problem[];
}

/** `lackingLibrary` says what it would be compiled against, and is not there. */
export function diagnoseOptional(
  addon: Addon,
  env: NodeJS.ProcessEnv = process.env,
  lackingLibrary: () => readonly Problem[] = () => [],
): OptionalReport {
  const status = findOptional(addon, env);
  const command = buildCommandOf(addon);
  const failed = (problem: string, fix: string, path?: string): OptionalReport => ({
    ...{ name: addon.name, ok: false, problems: [{ problem, fix }] },
    ...(path === undefined ? {} : { path }),
  });
  if (status.kind === "disabled") return failed(status.problem, `unset ${variableOf(addon)}`);
  if (status.kind === "ready") {
    const { path } = status.build;
    const probe = probeAddon(addon, path, env);
    if ("problem" in probe) return failed(probe.problem, `${command} --force`, path);
    return { name: addon.name, ok: true, description: probe.description, path, problems: [] };
  }
  const compiler = diagnoseCompiler(env);
  const lacking = [...lackingLibrary(), ...("problem" in compiler ? [compiler] : [])];
  const lacks = lacking.map(({ problem }) => problem).join(", ");
  const problem = lacks === "" ? status.problem : `${status.problem}: ${lacks}`;
  return failed(problem, [...lacking.flatMap(({ fix = [] }) => fix), command].join(" && "));
}
