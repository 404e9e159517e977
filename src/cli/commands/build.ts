/** `repkit build`: compiles an addon, and says what against and where it is. */
import { basename } from "node:path";

import type { Addon, Candidate, Library } from "../../addons/addon.js";
import type { BuildEvent, BuildOptions, BuildOutcome } from "../../addons/build.js";
import { cacheFolder, prune } from "../../addons/cache.js";
import { JPEG_ADDON } from "../../data/jpeg/addon.js";
import { buildJpegAddon } from "../../data/jpeg/build.js";
import { isVariant, tfjsNodeAddon, type Variant } from "../../engine/tfjs/node/addon.js";
import { buildTfjsNode } from "../../engine/tfjs/node/build.js";
import { buildAddon as buildTorchAddon } from "../../engine/torch/build.js";
import { describeLibrary } from "../../engine/torch/library.js";
import { TORCH_ADDON } from "../../engine/torch/target.js";
import { usageError } from "../../errors.js";
import { LINALG_ADDON } from "../../linalg/addon.js";
import { buildLinalgAddon } from "../../linalg/build.js";
import type { CommonOptions } from "../options.js";
import { progressBar } from "../progress.js";
import { formatBytes } from "../table.js";

export interface BuildCommandOptions extends CommonOptions {
  readonly force?: true;
  readonly libtorch?: string;
  readonly clean?: true;
}

export type Part = "torch" | "jpeg" | "linalg" | Variant;

export async function buildCommand(part: Part, options: BuildCommandOptions): Promise<void> {
  if (part !== "torch" && options.libtorch !== undefined) {
    throw usageError(`--libtorch: the ${part} addon is not linked to it; leave the flag out`);
  }
  const bar = await progressBar("compiling", options);
  const say = (line: string) => {
    if (options.quiet !== true) process.stderr.write(`${line}\n`);
  };
  const events = <L extends Library>(title: (library: L) => string): BuildOptions<L> => ({
    force: options.force === true,
    onEvent: (event) => {
      if (event.kind !== "unit") for (const line of eventLines(event, title)) say(line);
      else if (process.stderr.isTTY) bar.update(event.done, event.total);
      else say(unitLine(event));
    },
  });
  let outcome: BuildOutcome;
  try {
    if (part === "torch") {
      outcome = await buildTorchAddon({ ...events(describeLibrary), libtorch: options.libtorch });
    } else if (part === "jpeg") {
      outcome = await buildJpegAddon(events(({ version }) => `libjpeg-turbo ${version}`));
    } else if (part === "linalg") {
      outcome = await buildLinalgAddon(events(({ version }) => `Node-API's headers ${version}`));
    } else {
      outcome = await buildTfjsNode(part, {
        ...events(({ version }) => `TensorFlow ${version}`),
        say,
      });
    }
  } finally {
    bar.stop();
  }
  const freed =
    options.clean === true
      ? prune(addonOf(part), cacheFolder(), basename(outcome.folder))
      : undefined;
  const document = options.json === true ? asJson(part, outcome, freed) : asText(outcome, freed);
  process.stdout.write(document);
}

function addonOf(part: Part): Addon {
  if (isVariant(part)) return tfjsNodeAddon(part);
  return { torch: TORCH_ADDON, jpeg: JPEG_ADDON, linalg: LINALG_ADDON }[part];
}

function eventLines<L extends Library>(
  event: Exclude<BuildEvent<L>, { kind: "unit" }>,
  title: (library: L) => string,
): readonly string[] {
  if (event.kind === "looked") return event.candidates.map((one) => candidateLine(one, title));
  if (event.kind === "waiting") return [`waiting for another build of ${event.folder}`];
  const { target, compiler, units, jobs, folder } = event;
  return [
    `using ${target.title} in ${target.library.root}`,
    `compiling ${units} units as C++${target.cxxStandard}, ${jobs} at a time, with ${compiler.version}`,
    `into ${folder}`,
  ];
}

function candidateLine<L extends Library>(
  candidate: Candidate<L>,
  title: (library: L) => string,
): string {
  const found =
    "library" in candidate
      ? `${title(candidate.library)} in ${candidate.library.root}`
      : candidate.reason;
  return `${candidate.source}: ${found}`;
}

function unitLine({
  done,
  total,
  name,
  seconds,
  isReused,
}: Extract<BuildEvent, { kind: "unit" }>): string {
  const time = isReused ? "unchanged" : `${seconds.toFixed(1)} s`;
  return `[${String(done).padStart(String(total).length)}/${total}] ${name} ${time}`;
}

function asJson(part: Part, outcome: BuildOutcome, freed: number | undefined): string {
  const { path, record, isNew, seconds } = outcome;
  const { version, root, cuda, compiler } = record;
  const document = {
    ...(part === "jpeg"
      ? { loader: part }
      : part === "linalg"
        ? { kernels: part }
        : { engine: part }),
    ...{ version, root },
    ...(cuda === undefined ? {} : { cuda }),
    ...{ compiler, path, built: isNew, seconds },
    ...(freed === undefined ? {} : { bytes_freed: freed }),
  };
  return `${JSON.stringify(document)}\n`;
}

function asText({ path, isNew, seconds }: BuildOutcome, freed: number | undefined): string {
  const built = isNew ? `built in ${seconds.toFixed(1)} s` : "already built";
  const removed = freed === undefined ? "" : `removed ${formatBytes(freed)} of other builds\n`;
  return `${built}: ${path}\n${removed}`;
}
