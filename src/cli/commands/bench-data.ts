/** `repkit bench data`: how fast images are decoded, cropped and put into batches here. */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { type DataMeasurement, measureData } from "../../bench/data.js";
import { openImageFolder, RANDOM_RESIZED_CROP, type View } from "../../data/index.js";
import { jpegAddon } from "../../data/jpeg/addon.js";
import type { CommonOptions } from "../options.js";
import { progressBar, scanCounter } from "../progress.js";

export interface BenchDataOptions extends CommonOptions {
  readonly workers: number;
  readonly mode: "train" | "val";
  readonly batchSize: number;
  readonly imgSize: number;
  readonly steps: number;
  readonly warmup: number;
}

export async function benchDataCommand(folder: string, options: BenchDataOptions): Promise<void> {
  const { mode, workers, batchSize, imgSize, steps, warmup, seed } = options;
  const split = join(folder, mode);
  const scan = await scanCounter(options);
  const images = await openImageFolder(existsSync(split) ? split : folder, {
    onProgress: scan.update,
  }).finally(scan.stop);
  const bar = await progressBar("batches", options);
  let measurement: DataMeasurement;
  try {
    measurement = await measureData({
      ...{ folder: images, view: viewOf(mode, imgSize), workers, batchSize, steps, warmup, seed },
      onProgress: bar.update,
    });
  } finally {
    bar.stop();
  }
  const { medianSeconds, imagesPerSecond, cpuMilliseconds } = measurement;
  const document = {
    ...{ work: "data", folder: images.root, mode, batch_size: batchSize, img_size: imgSize },
    ...{ steps, warmup, images: measurement.images, bad_images: measurement.badImages },
    engine: jpegAddon() === undefined ? "sharp" : "jpeg",
    precision: "uint8",
    threads: workers,
    median_seconds: medianSeconds,
    seconds: measurement.seconds,
    images_per_second: imagesPerSecond,
    cpu_milliseconds_per_image: cpuMilliseconds,
    event_loop_milliseconds: measurement.eventLoopMilliseconds,
    // The process at its largest, Node itself included; ru_maxrss is in kilobytes.
    peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
    node: process.version,
  };
  process.stdout.write(options.json === true ? `${JSON.stringify(document)}\n` : asText(document));
}

/** What training and validation do without further flags, in the proportions of 224 and 256. */
function viewOf(mode: "train" | "val", size: number): View {
  return mode === "train"
    ? { kind: "training", size, ...RANDOM_RESIZED_CROP, augment: {} }
    : { kind: "evaluation", resize: Math.round((size * 256) / 224), crop: size };
}

interface Document {
  readonly folder: string;
  readonly mode: string;
  readonly engine: string;
  readonly batch_size: number;
  readonly threads: number;
  readonly median_seconds: number;
  readonly images_per_second: number;
  readonly cpu_milliseconds_per_image: number;
  readonly event_loop_milliseconds: number;
  readonly bad_images: number;
}

function asText(document: Document): string {
  const path = document.engine === "jpeg" ? "native for JPEG files" : "sharp";
  const lines = [
    `${document.folder}, ${document.mode} transforms, batch ${document.batch_size}, ${document.threads} workers, ${path}`,
    "",
    `  batch       ${document.median_seconds.toFixed(4)} s (median)`,
    `  images      ${document.images_per_second.toFixed(1)} per second`,
    `  CPU         ${document.cpu_milliseconds_per_image.toFixed(2)} ms per image, all threads`,
    `  event loop  held for at most ${document.event_loop_milliseconds.toFixed(1)} ms`,
    ...(document.bad_images > 0 ? [`  skipped     ${document.bad_images} images`] : []),
  ];
  return `${lines.join("\n")}\n`;
}
