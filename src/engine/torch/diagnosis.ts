/** What `repkit doctor` says about the torch engine. */
import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";

import type { Problem } from "../../addons/addon.js";
import { isSamePath } from "../../addons/files.js";
import { aptInstall } from "../../addons/mending.js";
import { probeAddon } from "../../addons/probe.js";
import type { DoctorReport, EngineReport } from "../doctor.js";
import type { Machine } from "../machine.js";
import { type AddonOptions, findBuild } from "./addon.js";
import { type Candidate, discoverLibrary, type Discovery } from "./discover.js";
import { inspectLibrary, type LibTorch } from "./library.js";
import { BUILD_COMMAND, installLibrary } from "./mending.js";
import { TORCH_ADDON } from "./target.js";

/** A place where a libtorch could be. */
export interface LibraryReport {
  readonly source: string;
  /** `used`: the addon is linked to it, or will be by the next build. */
  readonly status: "used" | "usable" | "refused";
  readonly root?: string;
  readonly version?: string;
  readonly cuda?: string;
  readonly problem?: string;
  readonly fix?: string;
}

export interface TorchDiagnosis {
  readonly engine: EngineReport;
  readonly libraries: readonly LibraryReport[];
}

export interface TorchSituation extends AddonOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly machine: Pick<Machine, "nvidia">;
  readonly compiler: DoctorReport["compiler"];
}

export async function diagnoseTorch(situation: TorchSituation): Promise<TorchDiagnosis> {
  const { env, machine, compiler } = situation;
  const discovery = await discoverLibrary({ env });
  const status = findBuild(situation);
  if (status.kind !== "ready") {
    const problem = whyNotBuilt(status.problem, status.kind, discovery, compiler);
    const engine = { name: "torch", ok: false, problems: [problem] };
    return { engine, libraries: libraryReports(discovery.candidates, discovery.library?.root) };
  }
  const { path, record } = status.build;
  const candidates = withBuilt(discovery.candidates, record.root);
  const libraries = libraryReports(candidates, record.root);
  const probe = probeAddon(TORCH_ADDON, path, env);
  if ("problem" in probe) {
    const problems = [{ problem: probe.problem, fix: `${BUILD_COMMAND} --force` }];
    return { engine: { name: "torch", ok: false, path, problems }, libraries };
  }
  const { version, cudaDevices } = probe.description as TorchDescription;
  const devices = ["cpu", ...Array.from({ length: cudaDevices }, (_, i) => `cuda:${i}`)];
  const problems = [
    ...blasProblem(candidates, record.root),
    ...gpuProblem(machine, record.cuda ?? null, cudaDevices),
  ];
  return { engine: { name: "torch", ok: true, version, devices, path, problems }, libraries };
}

function whyNotBuilt(
  problem: string,
  kind: "stale" | "missing" | "disabled",
  { library, candidates }: Discovery,
  compiler: DoctorReport["compiler"],
): Problem {
  if (kind === "disabled") return { problem, fix: "unset REPKIT_LIBTORCH" };
  if (library === undefined) {
    const named = candidates.find(({ source }) => source === "REPKIT_LIBTORCH");
    return named !== undefined && "reason" in named
      ? { problem: `REPKIT_LIBTORCH: ${named.reason}`, fix: "unset REPKIT_LIBTORCH" }
      : { problem: `${problem}: there is no libtorch`, fix: thenBuild(installLibrary()) };
  }
  if ("problem" in compiler) {
    const lacking = `${problem}: ${compiler.problem}`;
    return compiler.fix === undefined
      ? { problem: lacking }
      : { problem: lacking, fix: thenBuild(compiler.fix) };
  }
  return { problem, fix: BUILD_COMMAND };
}

function thenBuild(command: string): string {
  return `${command} && ${BUILD_COMMAND}`;
}

/** A build keeps to its library, even where another would be found today. */
function withBuilt(candidates: readonly Candidate[], root: string): readonly Candidate[] {
  const isThere = candidates.some((one) => "library" in one && isSamePath(one.library.root, root));
  return isThere ? candidates : [{ source: "last build", ...inspectLibrary(root) }, ...candidates];
}

function libraryReports(
  candidates: readonly Candidate[],
  used: string | undefined,
): LibraryReport[] {
  return candidates.map((candidate) => {
    const { source } = candidate;
    if ("library" in candidate) {
      const { root, version, cuda } = candidate.library;
      const status = used !== undefined && isSamePath(root, used) ? "used" : "usable";
      return { source, status, root, version, ...(cuda === undefined ? {} : { cuda }) };
    }
    const { reason, fix } = candidate;
    return { source, status: "refused", problem: reason, ...(fix === undefined ? {} : { fix }) };
  });
}

/** Of the addon's `describe()`. */
interface TorchDescription {
  readonly version: string;
  readonly cudaDevices: number;
}

/** Debian's libtorch multiplies with whatever libblas.so.3 is, and the reference one is slow. */
export function blasProblem(candidates: readonly Candidate[], root: string): Problem[] {
  const libraries: LibTorch[] = candidates.flatMap((one) =>
    "library" in one && isSamePath(one.library.root, root) ? [one.library] : [],
  );
  return libraries.flatMap(({ libraryDir }) => {
    const blas = join(libraryDir, "libblas.so.3");
    if (!existsSync(blas)) return [];
    const target = realpathSync(blas);
    if (/openblas|mkl|blis|atlas|accelerate/i.test(target)) return [];
    const problem = `${target} is the reference BLAS, ten times slower than OpenBLAS`;
    const fix = aptInstall("libopenblas0-pthread");
    return [fix === undefined ? { problem } : { problem, fix }];
  });
}

/** A GPU that stays unused. */
export function gpuProblem(
  { nvidia }: Pick<Machine, "nvidia">,
  cuda: string | null,
  devices: number,
): Problem[] {
  if (!nvidia || devices > 0) return [];
  if (cuda !== null) return [{ problem: `libtorch has CUDA ${cuda} but finds no device` }];
  const fix = `python3 -m pip install torch && ${BUILD_COMMAND}`;
  return [{ problem: "this machine has an NVIDIA GPU, but libtorch has no CUDA", fix }];
}
