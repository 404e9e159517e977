/** `repkit doctor`: which engines can run here, what they lack, and the commands that mend it. */
import type { Problem } from "../addons/addon.js";
import { type Compiler, diagnoseCompiler } from "../addons/compiler.js";
import { describeMachine, type Machine } from "./machine.js";
import { diagnoseTfjs } from "./tfjs/diagnosis.js";
import { diagnoseTorch, type LibraryReport } from "./torch/diagnosis.js";

export interface EngineReport {
  readonly name: string;
  /** Graphs can be run with it. */
  readonly ok: boolean;
  readonly version?: string;
  readonly devices?: readonly string[];
  /** The file that is loaded. */
  readonly path?: string;
  /** Why it does not run, or runs worse than it could. */
  readonly problems: readonly Problem[];
}

export interface DoctorReport extends Machine {
  readonly compiler: Omit<Compiler, "args"> | Problem;
  readonly engines: readonly EngineReport[];
  /** Where a libtorch was looked for. */
  readonly libraries: readonly LibraryReport[];
}

export async function diagnose(env: NodeJS.ProcessEnv = process.env): Promise<DoctorReport> {
  const machine = describeMachine();
  const compiler = diagnoseCompiler(env);
  const { engine, libraries } = await diagnoseTorch({ env, machine, compiler });
  return { ...machine, compiler, engines: [engine, ...diagnoseTfjs(env)], libraries };
}
