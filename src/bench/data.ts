/** How fast the loader prepares batches: one pass over a folder, without a model. */
import { monitorEventLoopDelay } from "node:perf_hooks";

import { type ImageFolder, Loader, type View } from "../data/index.js";
import { median } from "./measure.js";

export interface DataMeasureOptions {
  readonly folder: ImageFolder;
  readonly view: View;
  readonly batchSize: number;
  readonly workers: number;
  /** Batches that count. */
  readonly steps: number;
  /** Batches before them that do not: threads start, code is compiled. */
  readonly warmup: number;
  readonly seed: number;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface DataMeasurement {
  /** Of each batch that counts, from the one before it. */
  readonly seconds: readonly number[];
  readonly medianSeconds: number;
  readonly imagesPerSecond: number;
  /** Of all threads of the process, per image. */
  readonly cpuMilliseconds: number;
  readonly images: number;
  readonly badImages: number;
  /** The longest that the event loop was not free, in milliseconds. */
  readonly eventLoopMilliseconds: number;
}

/** Takes batches as fast as they come; epoch after epoch where one is not enough. */
export async function measureData(options: DataMeasureOptions): Promise<DataMeasurement> {
  const { folder, view, batchSize, workers, steps, warmup, seed } = options;
  const shuffle = view.kind === "training";
  const size = Math.min(batchSize, folder.files.length);
  const onBadImage = "skip" as const;
  const loader = new Loader({ folder, view, batchSize: size, workers, shuffle, seed, onBadImage });
  const delay = monitorEventLoopDelay({ resolution: 5 });
  const seconds: number[] = [];
  let [images, badImages] = [0, 0];
  let cpu = process.cpuUsage();
  let last = performance.now();
  if (warmup === 0) delay.enable();
  try {
    let done = 0;
    for (let epoch = 0; done < warmup + steps; epoch++) {
      for await (const batch of loader.epoch(epoch)) {
        options.onProgress?.(done, warmup + steps);
        const now = performance.now();
        if (done >= warmup) {
          seconds.push((now - last) / 1000);
          images += batch.labels.length;
          badImages += batch.bad.length;
        }
        batch.release();
        last = now;
        if (++done === warmup) {
          cpu = process.cpuUsage();
          delay.enable();
        }
        if (done === warmup + steps) break;
      }
    }
    const { user, system } = process.cpuUsage(cpu);
    delay.disable();
    return {
      seconds,
      medianSeconds: median(seconds),
      imagesPerSecond: images / seconds.reduce((sum, value) => sum + value, 0),
      cpuMilliseconds: (user + system) / 1000 / images,
      images,
      badImages,
      // The histogram counts in nanoseconds, its own resolution included.
      eventLoopMilliseconds: Math.max(0, delay.max / 1e6 - 5),
    };
  } finally {
    delay.disable();
    await loader.close();
  }
}
