/** `repkit build torch`: compiles the torch engine's addon, and says what against and where it is. */
import { basename } from "node:path";

import { buildAddon, type BuildEvent, type BuildOutcome } from "../../engine/torch/build.js";
import { cacheFolder, prune } from "../../engine/torch/cache.js";
import type { Candidate } from "../../engine/torch/discover.js";
import { describeLibrary } from "../../engine/torch/library.js";
import type { CommonOptions } from "../options.js";
import { progressBar } from "../progress.js";
import { formatBytes } from "../table.js";

export interface BuildCommandOptions extends CommonOptions {
  readonly force?: true;
  readonly libtorch?: string;
  readonly clean?: true;
}

export async function buildCommand(options: BuildCommandOptions): Promise<void> {
  const bar = await progressBar("compiling", options);
  const say = (line: string) => {
    if (options.quiet !== true) process.stderr.write(`${line}\n`);
  };
  let outcome: BuildOutcome;
  try {
    outcome = await buildAddon({
      libtorch: options.libtorch,
      force: options.force === true,
      onEvent: (event) => {
        if (event.kind !== "unit") for (const line of eventLines(event)) say(line);
        else if (process.stderr.isTTY) bar.update(event.done, event.total);
        else say(unitLine(event));
      },
    });
  } finally {
    bar.stop();
  }
  const freed = options.clean === true ? prune(cacheFolder(), basename(outcome.folder)) : undefined;
  const document = options.json === true ? asJson(outcome, freed) : asText(outcome, freed);
  process.stdout.write(document);
}

function eventLines(event: Exclude<BuildEvent, { kind: "unit" }>): readonly string[] {
  if (event.kind === "looked") return event.discovery.candidates.map(candidateLine);
  if (event.kind === "waiting") return [`waiting for another build of ${event.folder}`];
  const { library, compiler, units, jobs, folder } = event;
  return [
    `using ${describeLibrary(library)} in ${library.root}`,
    `compiling ${units} units as C++${library.cxxStandard}, ${jobs} at a time, with ${compiler.version}`,
    `into ${folder}`,
  ];
}

function candidateLine(candidate: Candidate): string {
  const found =
    "library" in candidate
      ? `${describeLibrary(candidate.library)} in ${candidate.library.root}`
      : candidate.reason;
  return `${candidate.source}: ${found}`;
}

function unitLine({ done, total, name, seconds, isReused }: BuildEvent & { kind: "unit" }): string {
  const time = isReused ? "unchanged" : `${seconds.toFixed(1)} s`;
  return `[${String(done).padStart(String(total).length)}/${total}] ${name} ${time}`;
}

function asJson({ path, record, isNew, seconds }: BuildOutcome, freed: number | undefined): string {
  const { version, root, cuda, compiler } = record;
  const document = { engine: "torch", version, root, cuda, compiler, path, built: isNew, seconds };
  return `${JSON.stringify(freed === undefined ? document : { ...document, bytes_freed: freed })}\n`;
}

function asText({ path, isNew, seconds }: BuildOutcome, freed: number | undefined): string {
  const built = isNew ? `built in ${seconds.toFixed(1)} s` : "already built";
  const removed = freed === undefined ? "" : `removed ${formatBytes(freed)} of other builds\n`;
  return `${built}: ${path}\n${removed}`;
}
