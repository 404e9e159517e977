/** `repkit doctor`: what can run here, what is missing, and the command that mends it. */
import type { Problem } from "../../addons/addon.js";
import { type CacheReport, describeCache } from "../../addons/cache.js";
import { diagnoseJpeg, type LoaderReport } from "../../data/jpeg/diagnosis.js";
import { type SharpVersions, sharpVersions } from "../../data/sharp-versions.js";
import { diagnose, type DoctorReport } from "../../engine/doctor.js";
import { RepkitError } from "../../errors.js";
import { diagnoseLinalg, type KernelReport } from "../../linalg/diagnosis.js";
import type { CommonOptions } from "../options.js";
import { formatBytes, formatTable } from "../table.js";

interface Report extends DoctorReport {
  /** Where addons and lists of images are kept. */
  readonly cache: CacheReport;
  /** What reads images everywhere. */
  readonly images: SharpVersions;
  /** Ways to read images that are faster than the one that is always there. */
  readonly loaders: readonly LoaderReport[];
  /** Sums that are faster than those that are always there. */
  readonly kernels: readonly KernelReport[];
}

export async function doctor(options: CommonOptions): Promise<void> {
  const report: Report = {
    ...(await diagnose()),
    cache: describeCache(),
    images: sharpVersions(),
    loaders: [diagnoseJpeg()],
    kernels: [diagnoseLinalg()],
  };
  process.stdout.write(options.json === true ? `${JSON.stringify(report)}\n` : asText(report));
  if (report.engines.some(({ ok }) => ok)) return;
  const problem = report.engines.flatMap(({ problems }) => problems).at(0);
  throw new RepkitError(
    "environment",
    `no engine can run${problem === undefined ? "" : `: ${problemText(problem)}`}`,
  );
}

function asText(report: Report): string {
  const tables = [engineText(report), libraryText(report), loaderText(report), kernelText(report)];
  return `${machineText(report)}\n${tables.join("\n")}${problemList(report)}`;
}

function machineText(report: Report): string {
  const { node, platform, system, cpu, memory, compiler, images, cache } = report;
  const { model, cores, features, load } = cpu;
  const { total_bytes: total, free_bytes: free } = memory;
  const rows: [string, string][] = [
    ["node", node],
    ["platform", system === undefined ? platform : `${platform}, ${system}`],
    ["cpu", `${model}, ${cores} cores (${load} busy), ${features.join(" ")}`],
    ["memory", `${formatBytes(total)}, ${formatBytes(free)} free`],
    ["compiler", "problem" in compiler ? compiler.problem : compiler.version],
    ["images", `sharp ${images.sharp}, libvips ${images.libvips}`],
    ["cache", `${cache.path}, ${formatBytes(cache.free_bytes)} free`],
  ];
  return rows.map(([name, value]) => `${name.padEnd(10)}${value}\n`).join("");
}

function engineText({ engines }: DoctorReport): string {
  return formatTable(
    [{ title: "ENGINE" }, { title: "STATE" }, { title: "VERSION" }, { title: "DEVICES" }],
    engines.map(({ name, ok, version = "", devices = [] }) => [
      ...[name, ok ? "ok" : "not there"],
      ...[version, devices.join(" ")],
    ]),
  );
}

function libraryText({ libraries }: DoctorReport): string {
  return formatTable(
    [
      { title: "LIBTORCH" },
      { title: "STATE" },
      { title: "VERSION" },
      { title: "WHERE, OR WHY NOT" },
    ],
    libraries.map(({ source, status, version = "", cuda, root, problem }) => [
      ...[source, status],
      cuda === undefined ? version : `${version} (CUDA ${cuda})`,
      problem ?? root ?? "",
    ]),
  );
}

function loaderText({ loaders }: Report): string {
  return formatTable(
    [{ title: "LOADER" }, { title: "STATE" }, { title: "LIBRARY" }],
    loaders.map(({ name, ok, version }) => [
      ...[name, ok ? "ok" : "not there"],
      version === undefined ? "" : `libjpeg-turbo ${version}`,
    ]),
  );
}

function kernelText({ kernels }: Report): string {
  return formatTable(
    [{ title: "KERNELS" }, { title: "STATE" }, { title: "INSTRUCTIONS" }],
    kernels.map(({ name, ok, instructions = "" }) => [name, ok ? "ok" : "not there", instructions]),
  );
}

function problemList({ engines, loaders, kernels, compiler, cache }: Report): string {
  const problems = [
    ...[...engines, ...loaders, ...kernels].flatMap(({ name, problems }) =>
      problems.map((one) => ({ ...one, of: name })),
    ),
    ...("problem" in compiler ? [{ ...compiler, of: "compiler" }] : []),
    ...(cache.problem === null
      ? []
      : [{ of: "cache", problem: cache.problem, fix: "export REPKIT_CACHE=FOLDER" }]),
  ];
  if (problems.length === 0) return "";
  return `\n${problems.map(({ of, ...one }) => `${of}: ${problemText(one)}\n`).join("")}`;
}

function problemText({ problem, fix }: Problem): string {
  return fix === undefined ? problem : `${problem}; run: ${fix}`;
}
