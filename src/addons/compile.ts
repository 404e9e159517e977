/** Runs the compiler: units in parallel, objects kept by what they were made from, then the link. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, renameSync, utimesSync, writeFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { dirname, join } from "node:path";

import { RepkitError } from "../errors.js";
import type { Addon, Target } from "./addon.js";
import { moduleFile, stampOf, temporaryPath } from "./cache.js";
import type { Compiler } from "./compiler.js";
import { compileUnits, type Unit, unitHash } from "./units.js";

export interface CompileJob {
  readonly target: Target;
  readonly compiler: Compiler;
  readonly env: NodeJS.ProcessEnv;
  /** Objects of earlier builds. */
  readonly objects: string;
  /** Make them anew. */
  readonly force: boolean;
  /** Where the addon and its log go. */
  readonly folder: string;
  /** Where the log goes when something fails. */
  readonly failureLog: string;
  readonly onUnit: (unit: UnitReport) => void;
}

export interface UnitReport {
  readonly name: string;
  readonly done: number;
  readonly total: number;
  readonly seconds: number;
  /** Its object was there already. */
  readonly isReused: boolean;
}

/** How many compilers run at once. */
export function parallelJobs({ bytesPerJob }: Addon): number {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(totalmem() / bytesPerJob)));
}

/** Compiles and links the addon into `job.folder`. */
export async function compileAddon(job: CompileJob): Promise<void> {
  const { addon, title, linkFlags } = job.target;
  const units = compileUnits(addon.sources);
  mkdirSync(job.objects, { recursive: true });
  const children = new Children(job);
  const stop = () => {
    children.killAll();
  };
  process.once("exit", stop);
  try {
    const objects = await compileAll(job, units, children);
    const file = join(job.folder, moduleFile(addon));
    await children.run("link", ["-o", file, ...objects, ...linkFlags]);
    writeFileSync(join(job.folder, "build.log"), children.log);
  } catch (error) {
    children.killAll();
    if (!(error instanceof CommandFailure)) throw error;
    mkdirSync(dirname(job.failureLog), { recursive: true });
    writeFileSync(job.failureLog, children.log);
    throw new RepkitError(
      "environment",
      `the addon does not ${error.what === "link" ? "link" : "compile"} against ${title}: ${error.firstLine}; log: ${job.failureLog}`,
      { details: { reason: "compile" } },
    );
  } finally {
    process.off("exit", stop);
  }
}

async function compileAll(
  job: CompileJob,
  units: readonly Unit[],
  children: Children,
): Promise<string[]> {
  const { compiler, target } = job;
  const { addon, library, compileFlags } = target;
  const common = [compiler.version, JSON.stringify([library, stampOf(target)])];
  const objects: string[] = [];
  let next = 0;
  let done = 0;
  const work = async () => {
    for (let i = next++; i < units.length; i = next++) {
      const unit = units[i]!;
      const started = performance.now();
      const command = [...compileFlags, ...unit.flags];
      const file = join(addon.sources, unit.source);
      const object = join(
        job.objects,
        `${objectKey([...common, ...command, unitHash(addon.sources, unit.source)])}.o`,
      );
      const isReused = !job.force && existsSync(object);
      if (isReused) {
        utimesSync(object, new Date(), new Date()); // in use, for those who clean up
      } else {
        const temporary = temporaryPath(job.objects, "object");
        await children.run(unit.name, [...command, "-c", file, "-o", temporary]);
        renameSync(temporary, object);
      }
      objects[i] = object;
      const seconds = (performance.now() - started) / 1000;
      job.onUnit({ name: unit.name, done: ++done, total: units.length, seconds, isReused });
    }
  };
  await Promise.all(Array.from({ length: parallelJobs(addon) }, work));
  return objects;
}

function objectKey(ingredients: readonly string[]): string {
  const hash = createHash("sha256").update(JSON.stringify(ingredients));
  return hash.digest("hex").slice(0, 32);
}

/** A compiler that failed. */
class CommandFailure extends Error {
  readonly what: string;
  readonly firstLine: string;

  constructor(what: string, output: string) {
    super(`${what} failed`);
    this.what = what;
    // The linker's own account comes before the compiler's remark that it failed.
    const lines = output.split("\n").filter((line) => !line.startsWith("collect2:"));
    const telling = /\berror:|undefined reference|cannot find|not recognized/;
    this.firstLine = (lines.find((line) => telling.test(line)) ?? lines[0] ?? "").trim();
  }
}

/** The compilers that run, and all that they printed. */
class Children {
  log = "";
  readonly #job: CompileJob;
  readonly #running = new Set<ReturnType<typeof spawn>>();
  #isStopped = false;

  constructor(job: CompileJob) {
    this.#job = job;
  }

  async run(what: string, args: readonly string[]): Promise<void> {
    if (this.#isStopped) throw new CommandFailure(what, "");
    const { command, args: before } = this.#job.compiler;
    const all = [...before, ...args];
    const child = spawn(command, all, { env: this.#job.env, stdio: ["ignore", "pipe", "pipe"] });
    this.#running.add(child);
    let output = "";
    child.stdout.on("data", (piece: Buffer) => (output += piece.toString()));
    child.stderr.on("data", (piece: Buffer) => (output += piece.toString()));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    this.#running.delete(child);
    this.log += `$ ${[command, ...all].join(" ")}\n${output}`;
    if (code !== 0) throw new CommandFailure(what, output);
  }

  killAll(): void {
    this.#isStopped = true;
    for (const child of this.#running) child.kill();
  }
}
