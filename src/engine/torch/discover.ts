/** Which libtorch the addon is compiled against: the one that is named, else Python's, else Debian's. */
import { spawn } from "node:child_process";
import { join, resolve } from "node:path";

import type { Candidate as AnyCandidate, Refusal } from "../../addons/addon.js";
import { isSamePath, libraryFile } from "../../addons/files.js";
import { aptInstall } from "../../addons/mending.js";
import { RepkitError } from "../../errors.js";
import { inspectLibrary, type LibTorch } from "./library.js";
import { installLibrary } from "./mending.js";

/** A place where a libtorch could be, and what was found there. */
export type Candidate = AnyCandidate<LibTorch>;

export interface Discovery {
  /** In order of precedence; the first that can be used is. */
  readonly candidates: readonly Candidate[];
  readonly library: LibTorch | undefined;
  /** Who named it. */
  readonly source: string | undefined;
}

export interface DiscoverOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** A folder named on the command line; before REPKIT_LIBTORCH. */
  readonly libtorch?: string | undefined;
  /** Where Debian installs. */
  readonly prefix?: string;
}

/** What `REPKIT_LIBTORCH` (or `--libtorch`) says instead of a folder: do without. */
export const NO_LIBTORCH = "none";

/** Where Python keeps torch, found without importing it, which would take seconds. */
const FIND_TORCH = `
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import json
from importlib.util import find_spec
spec = find_spec("torch")
folders = list(spec.submodule_search_locations) if spec and spec.origin else [None]
print("\\n" + json.dumps({"executable": sys.executable, "torch": folders[0]}))
`;

const PYTHON_SECONDS = 30;

/** Looks everywhere, in order. A place that is named is the only one that is looked at. */
export async function discoverLibrary(options: DiscoverOptions = {}): Promise<Discovery> {
  const { env = process.env, libtorch, prefix = "/usr" } = options;
  const named = namedLibrary(env, libtorch);
  const candidates =
    named === undefined
      ? [...(await pythonCandidates(env, prefix)), debianCandidate(prefix)]
      : [namedCandidate(named.source, named.folder)];
  const first = candidates.find((candidate) => "library" in candidate);
  return { candidates, library: first?.library, source: first?.source };
}

/** The library that was found, or an error that says what was looked at and what to do. */
export function requireLibrary({ library, candidates }: Discovery): LibTorch {
  if (library !== undefined) return library;
  const refusals = candidates.flatMap((candidate) => ("reason" in candidate ? [candidate] : []));
  const [only] = refusals;
  const isNamed = refusals.length === 1 && only !== undefined;
  const reasons = refusals.map(({ source, reason }) => `${source}: ${reason}`).join("; ");
  throw new RepkitError(
    "environment",
    isNamed
      ? `${reasons}${only.fix === undefined ? "" : `; run: ${only.fix}`}`
      : `no libtorch found (${reasons}); run: ${installLibrary()}`,
    { details: { reason: "no-library" } },
  );
}

/** The folder that somebody named, and who. */
export function namedLibrary(
  env: NodeJS.ProcessEnv,
  libtorch?: string,
): { readonly source: string; readonly folder: string } | undefined {
  if (libtorch !== undefined) return { source: "--libtorch", folder: libtorch };
  const folder = env["REPKIT_LIBTORCH"];
  if (folder === undefined || folder === "") return undefined;
  return { source: "REPKIT_LIBTORCH", folder };
}

function namedCandidate(source: string, folder: string): Candidate {
  if (folder === NO_LIBTORCH) {
    return { source, reason: `"${NO_LIBTORCH}" says that libtorch is not to be used` };
  }
  const found = inspectLibrary(resolve(folder));
  if ("library" in found || found.reason.endsWith(" has")) return { source, ...found };
  const expected =
    "expected the folder of an unpacked libtorch, of a torch package, or a prefix such as /usr";
  return { source, ...found, reason: `${found.reason}; ${expected}` };
}

function debianCandidate(prefix: string): Candidate {
  const found = inspectLibrary(prefix);
  if ("library" in found) return { source: "Debian", ...found };
  // Whoever has no libtorch from Debian need not read about libraries in /usr.
  const isMissing = found.reason.includes(libraryFile("torch_cpu"));
  const reason = isMissing ? `no libtorch-dev in ${prefix}` : found.reason;
  const fix = aptInstall("libtorch-dev");
  return { source: "Debian", reason, ...(fix === undefined ? {} : { fix }) };
}

/** The active virtual environment's Python, then those on PATH; one entry for each interpreter. */
async function pythonCandidates(env: NodeJS.ProcessEnv, prefix: string): Promise<Candidate[]> {
  const environment = env["VIRTUAL_ENV"] ?? "";
  const programs = [
    ...(environment === "" ? [] : [join(environment, "bin", "python")]),
    ...["python3", "python"],
  ];
  const answers = await Promise.all(programs.map((program) => askPython(program, env)));
  const seen = new Set<string>();
  return answers.flatMap((answer, i) => {
    const source = programs[i]!;
    if ("reason" in answer) return [{ source, ...answer }];
    if (seen.has(answer.executable)) return [];
    seen.add(answer.executable);
    return [{ source, ...inspectPython(answer, prefix) }];
  });
}

interface PythonAnswer {
  readonly executable: string;
  /** The package's folder. */
  readonly torch: string | null;
}

function inspectPython({ executable, torch }: PythonAnswer, prefix: string) {
  if (torch === null) return { reason: `${executable} has no torch` };
  const found = inspectLibrary(torch);
  if (!("library" in found)) return found;
  const debian = inspectLibrary(prefix);
  const file = libraryFile("torch_cpu");
  if (
    "library" in debian &&
    isSamePath(join(found.library.libraryDir, file), join(debian.library.libraryDir, file))
  ) {
    return { reason: `${torch} is made of links to Debian's libtorch, which is looked at next` };
  }
  return found;
}

function askPython(program: string, env: NodeJS.ProcessEnv): Promise<PythonAnswer | Refusal> {
  return new Promise((answer) => {
    const child = spawn(program, ["-c", FIND_TORCH], {
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    // NOTE: spawn's own `timeout` keeps running, and the process alive, after a program was not found.
    const timer = setTimeout(() => child.kill("SIGKILL"), PYTHON_SECONDS * 1000);
    let output = "";
    let errors = "";
    child.stdout.on("data", (piece: Buffer) => (output += piece.toString()));
    child.stderr.on("data", (piece: Buffer) => (errors += piece.toString()));
    child.once("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      answer({ reason: error.code === "ENOENT" ? "is not installed" : error.message });
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      if (signal !== null) {
        answer({ reason: `did not answer within ${PYTHON_SECONDS} s` });
      } else if (code === 0) {
        answer(readAnswer(lastLine(output)));
      } else {
        answer({ reason: `fails: ${lastLine(errors)}` });
      }
    });
  });
}

function readAnswer(line: string): PythonAnswer | Refusal {
  try {
    return JSON.parse(line) as PythonAnswer;
  } catch {
    return { reason: `answers "${line}"` };
  }
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
