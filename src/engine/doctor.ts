/** `repkit doctor`: which engines can run here, what they lack, and the commands that mend it. */
import { RepkitError } from "../errors.js";
import { describeMachine, type Machine } from "./machine.js";
import { type Compiler, findCompiler } from "./torch/compiler.js";
import { diagnoseTorch, type LibraryReport } from "./torch/diagnosis.js";

/** Something that is wrong, and the command that mends it. */
export interface Problem {
  readonly problem: string;
  readonly fix?: string;
}

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
  return { ...machine, compiler, engines: [engine], libraries };
}

function diagnoseCompiler(env: NodeJS.ProcessEnv): DoctorReport["compiler"] {
  try {
    const { command, version } = findCompiler(env);
    return { command, version };
  } catch (error) {
    if (!(error instanceof RepkitError)) throw error;
    const [problem = "", fix] = error.message.split(/[;,] (?:or )?run: /);
    return { problem, ...(fix === undefined ? {} : { fix }) };
  }
}
