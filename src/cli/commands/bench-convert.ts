/** `repkit bench convert`: how long a conversion takes here, from file to checked file. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";

import { median } from "../../bench/index.js";
import { saveCheckpoint } from "../../checkpoint/index.js";
import { convert } from "../../convert/index.js";
import { initialState } from "../../graph/index.js";
import { architecture, buildModel } from "../../zoo/index.js";
import type { CommonOptions } from "../options.js";
import { progressBar } from "../progress.js";
import { formatBytes } from "../table.js";

export interface BenchConvertOptions extends CommonOptions {
  readonly arch: string;
  readonly blocktype?: string;
  readonly numClasses: number;
  readonly steps: number;
  readonly warmup: number;
}

/** Of fresh weights, in a folder of its own that goes afterwards. */
export async function benchConvertCommand(options: BenchConvertOptions): Promise<void> {
  const { arch, numClasses, steps, warmup, seed } = options;
  const threads = options.threads ?? availableParallelism();
  const block = options.blocktype ?? architecture(arch).blocks[0] ?? "base";
  const model = buildModel({ arch, block, numClasses });
  const folder = mkdtempSync(join(tmpdir(), "repkit-bench-"));
  const bar = await progressBar(`${arch} x ${block}`, options);
  const seconds: number[] = [];
  let bytes: number;
  try {
    const input = join(folder, "train.ckpt");
    saveCheckpoint(input, { model, state: initialState(model.graph, seed) });
    bytes = statSync(input).size;
    for (let run = 0; run < warmup + steps; run++) {
      bar.update(run, warmup + steps);
      const started = performance.now();
      await convert({ input, output: join(folder, "deploy.ckpt"), threads });
      if (run >= warmup) seconds.push((performance.now() - started) / 1000);
    }
  } finally {
    bar.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  const document = {
    ...{ work: "convert", arch, block, classes: numClasses, steps, warmup, input_bytes: bytes },
    // Networks are checked by the float64 interpreter, not on an engine.
    ...{ engine: null, precision: "fp64", threads, images_per_second: null },
    ...{ median_seconds: median(seconds), min_seconds: Math.min(...seconds), seconds },
    // The process at its largest, Node itself included; ru_maxrss is in kilobytes.
    peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
    node: process.version,
  };
  process.stdout.write(options.json === true ? `${JSON.stringify(document)}\n` : asText(document));
}

interface Document {
  readonly arch: string;
  readonly block: string;
  readonly input_bytes: number;
  readonly threads: number;
  readonly steps: number;
  readonly median_seconds: number;
  readonly min_seconds: number;
  readonly peak_memory_bytes: number;
}

function asText(document: Document): string {
  const { arch, block, input_bytes, threads, steps } = document;
  const { median_seconds, min_seconds, peak_memory_bytes } = document;
  return [
    `${arch} x ${block}, ${formatBytes(input_bytes)}, ${threads} threads`,
    "",
    `  conversion   ${median_seconds.toFixed(3)} s, checked (median of ${steps}; fastest ${min_seconds.toFixed(3)} s)`,
    `  peak memory  ${formatBytes(peak_memory_bytes)}`,
    "",
  ].join("\n");
}
