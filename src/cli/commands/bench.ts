/** `repkit bench step|forward`: how fast an engine runs a model here. */
import { availableParallelism } from "node:os";

import { measure, operationsPerImage, type Measurement, type Work } from "../../bench/index.js";
import type { Device, Engine, Precision } from "../../engine/types.js";
import { usageError } from "../../errors.js";
import { architecture, buildModel, type Model } from "../../zoo/index.js";
import type { CommonOptions } from "../options.js";
import { progressBar } from "../progress.js";
import { formatBytes, formatCount, formatTable } from "../table.js";
import { type ChooseEngine, chooseInstalled, remark } from "./evaluation-options.js";

export interface BenchOptions extends CommonOptions {
  readonly arch: string;
  readonly blocktype?: string;
  readonly deploy?: true;
  readonly batchSize: number;
  readonly imgSize: number;
  readonly numClasses: number;
  readonly steps: number;
  readonly warmup: number;
  readonly profile?: true;
}

/** Beyond any use, and a batch still fits one array. */
const MAX_BATCH_BYTES = 2 ** 31;

export async function benchCommand(
  work: Work,
  options: BenchOptions,
  choose: ChooseEngine = chooseInstalled,
): Promise<void> {
  const model = buildModel({
    arch: options.arch,
    block: options.blocktype ?? architecture(options.arch).blocks[0] ?? "base",
    structure: options.deploy === true ? "deploy" : "train",
    numClasses: options.numClasses,
    imageSize: options.imgSize,
  });
  const { batchSize, steps, warmup, seed } = options;
  if (batchSize * options.imgSize ** 2 * 3 > MAX_BATCH_BYTES) {
    throw usageError(
      `--batch-size: expected images of no more than ${formatBytes(MAX_BATCH_BYTES)} in all, received ${batchSize}`,
    );
  }
  const engine = await choose(options.engine, (note) => remark(options, `note: ${note}`));
  const bar = await progressBar(`${model.arch} x ${model.block}`, options);
  let measurement: Measurement;
  try {
    measurement = await measure(engine, model, work, {
      ...{ batchSize, steps, warmup, seed },
      ...(options.device === undefined ? {} : { device: options.device as Device }),
      precision: options.precision as Precision,
      threads: threadsOf(options),
      profile: options.profile === true,
      onProgress: bar.update,
    });
  } finally {
    bar.stop();
  }
  if (options.profile === true && measurement.profile === undefined && options.quiet !== true) {
    process.stderr.write(`note: ${engine.name} cannot say where its time goes\n`);
  }
  const document = asDocument({ work, options, model, engine, measurement });
  process.stdout.write(
    options.json === true ? `${JSON.stringify(document)}\n` : asText(document, engine),
  );
}

function threadsOf({ threads }: BenchOptions): number {
  return threads ?? availableParallelism();
}

interface Run {
  readonly work: Work;
  readonly options: BenchOptions;
  readonly model: Model;
  readonly engine: Engine;
  readonly measurement: Measurement;
}

function asDocument({ work, options, model, engine, measurement }: Run) {
  const { arch, block, structure, numClasses, imageSize } = model;
  return {
    ...{ work, arch, block, mode: structure, classes: numClasses },
    ...{ batch_size: options.batchSize, img_size: imageSize },
    ...{ steps: options.steps, warmup: options.warmup },
    ...{ engine: engine.name, engine_description: engine.description },
    ...{ device: options.device ?? "cpu", precision: options.precision },
    threads: threadsOf(options),
    median_seconds: measurement.medianSeconds,
    min_seconds: measurement.minSeconds,
    seconds: measurement.seconds,
    images_per_second: measurement.imagesPerSecond,
    gflop_per_image: operationsPerImage(model, work) / 1e9,
    gflops_per_second: measurement.operationsPerSecond / 1e9,
    // The process at its largest, Node itself included; ru_maxrss is in kilobytes.
    peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
    last_loss: measurement.loss ?? null,
    profile: measurement.profile ?? null,
    node: process.version,
  };
}

type Document = ReturnType<typeof asDocument>;

function asText(document: Document, { description }: Engine): string {
  const { work, arch, block, mode, batch_size, img_size, threads, precision, device } = document;
  const where = device === "cpu" ? `${threads} threads` : device;
  const lines = [
    `${arch} x ${block}, ${mode} structure, batch ${batch_size} at ${img_size}x${img_size}, ${precision}, ${where}`,
    `${document.engine}: ${description}`,
    "",
    `  ${work === "step" ? "training step" : "forward pass "}  ${document.median_seconds.toFixed(4)} s` +
      ` (median of ${document.steps}; fastest ${document.min_seconds.toFixed(4)} s)`,
    `  images         ${document.images_per_second.toFixed(1)} per second`,
    `  arithmetic     ${document.gflops_per_second.toFixed(0)} GFLOP/s in convolutions and linear layers`,
    `  peak memory    ${formatBytes(document.peak_memory_bytes)}`,
  ];
  const profile = document.profile === null ? "" : `\n${profileTable(document.profile)}`;
  return `${lines.join("\n")}\n${profile}`;
}

/** Where the time goes, the largest share first. */
function profileTable(rows: NonNullable<Document["profile"]>): string {
  const total = rows.reduce((sum, { seconds }) => sum + seconds, 0);
  return formatTable(
    [
      { title: "OPERATION" },
      { title: "CALLS", align: "right" },
      { title: "SECONDS", align: "right" },
      { title: "SHARE", align: "right" },
    ],
    [...rows]
      .sort((a, b) => b.seconds - a.seconds)
      .map(({ name, calls, seconds }) => [
        name,
        formatCount(calls),
        seconds.toFixed(4),
        `${((100 * seconds) / total).toFixed(1)} %`,
      ]),
  );
}
