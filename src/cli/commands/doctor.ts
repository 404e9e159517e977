/** `repkit doctor`: what can run here, what is missing, and the command that mends it. */
import { diagnose, type DoctorReport, type Problem } from "../../engine/doctor.js";
import { RepkitError } from "../../errors.js";
import type { CommonOptions } from "../options.js";
import { formatBytes, formatTable } from "../table.js";

export async function doctor(options: CommonOptions): Promise<void> {
  const report = await diagnose();
  process.stdout.write(options.json === true ? `${JSON.stringify(report)}\n` : asText(report));
  if (report.engines.some(({ ok }) => ok)) return;
  const problem = report.engines.flatMap(({ problems }) => problems).at(0);
  throw new RepkitError(
    "environment",
    `no engine can run${problem === undefined ? "" : `: ${problemText(problem)}`}`,
  );
}

function asText(report: DoctorReport): string {
  return `${machineText(report)}\n${engineText(report)}\n${libraryText(report)}${problemList(report)}`;
}

function machineText({ node, platform, system, cpu, memory, compiler }: DoctorReport): string {
  const { model, cores, features, load } = cpu;
  const { total_bytes: total, free_bytes: free } = memory;
  const rows: [string, string][] = [
    ["node", node],
    ["platform", system === undefined ? platform : `${platform}, ${system}`],
    ["cpu", `${model}, ${cores} cores (${load} busy), ${features.join(" ")}`],
    ["memory", `${formatBytes(total)}, ${formatBytes(free)} free`],
    ["compiler", "problem" in compiler ? compiler.problem : compiler.version],
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

function problemList({ engines, compiler }: DoctorReport): string {
  const problems = [
    ...engines.flatMap((engine) => engine.problems.map((one) => ({ ...one, of: engine.name }))),
    ...("problem" in compiler ? [{ ...compiler, of: "compiler" }] : []),
  ];
  if (problems.length === 0) return "";
  return `\n${problems.map(({ of, ...one }) => `${of}: ${problemText(one)}\n`).join("")}`;
}

function problemText({ problem, fix }: Problem): string {
  return fix === undefined ? problem : `${problem}; run: ${fix}`;
}
