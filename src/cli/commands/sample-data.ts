/** `repkit sample-data DIR`: a small drawn data set to try everything on. */
import { type SampleData, writeSampleData } from "../../data/sample-data.js";
import type { CommonOptions } from "../options.js";
import { progressBar } from "../progress.js";
import { formatBytes } from "../table.js";

export interface SampleDataFlags extends CommonOptions {
  readonly classes: number;
  readonly train: number;
  readonly val: number;
}

export async function sampleData(dir: string, options: SampleDataFlags): Promise<void> {
  const { classes, train, val, seed } = options;
  const started = performance.now();
  const bar = await progressBar("drawing", options);
  let written: SampleData;
  try {
    written = await writeSampleData(dir, { classes, train, val, seed, onProgress: bar.update });
  } finally {
    bar.stop();
  }
  const document = { ...written, seconds: (performance.now() - started) / 1000 };
  process.stdout.write(
    options.json === true
      ? `${JSON.stringify(document)}\n`
      : `${document.dir}: ${document.train} training and ${document.val} validation images of ` +
          `${document.classes} classes, ${formatBytes(document.bytes)}, in ${document.seconds.toFixed(1)} s\n`,
  );
}
