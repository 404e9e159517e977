// The loader with worker threads, as programs use it: `node load-images.js WHAT FOLDER` prints JSON.
// FOLDER holds class folders of images.
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import workerThreads from "node:worker_threads";

import { Loader, openImageFolder, RANDOM_RESIZED_CROP } from "../../../dist/data/index.js";

const [, , what = "", path = ""] = process.argv;

/** @type {workerThreads.Worker[]} */
const threads = [];
/** Notes the loader's threads, so that they can be ended. */
class NotedWorker extends workerThreads.Worker {
  /** @param {ConstructorParameters<typeof workerThreads.Worker>} args */
  constructor(...args) {
    if (what === "broken thread") super("throw new Error('no such library')", { eval: true });
    else super(...args);
    threads.push(this);
  }
}
workerThreads.Worker = NotedWorker;
syncBuiltinESMExports();

const folder = await openImageFolder(path, { index: false });

/** @typedef {import("../../../dist/data/index.js").LoaderOptions} LoaderOptions */
/** @typedef {import("../../../dist/data/index.js").ImageBatch} ImageBatch */

/**
 * @param {Partial<LoaderOptions>} options
 * @param {number} size
 */
function newLoader(options, size = 24) {
  const view = /** @type {const} */ ({
    kind: "training",
    size,
    ...RANDOM_RESIZED_CROP,
    augment: { colorJitter: { brightness: 0.4, saturation: 0.4, hue: 0.4 }, lighting: 0.1 },
  });
  return new Loader({ folder, view, batchSize: 4, shuffle: true, workers: 2, ...options });
}

/** @param {ImageBatch} batch */
function describe({ images, labels, indices, mixing, bad, position, release }) {
  const hash = createHash("sha256").update(images.data).digest("hex");
  const otherLabels = [...(mixing?.otherLabels ?? [])];
  release();
  return { hash, labels: [...labels], indices: [...indices], otherLabels, bad, position };
}

/** @param {() => Promise<unknown>} action */
async function failureOf(action) {
  try {
    await action();
    return "none";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Of the main thread on a core, in milliseconds: what neighbours take is not counted. */
function openCpuClock() {
  const file = openSync("/proc/self/schedstat", "r");
  const text = Buffer.alloc(64);
  return {
    now: () =>
      Number(text.toString("latin1", 0, readSync(file, text, 0, 64, 0)).split(" ")[0]) / 1e6,
    close: () => {
      closeSync(file);
    },
  };
}

/** @type {Record<string, () => Promise<unknown>>} */
const programs = {
  /** The same batches, by any number of threads, from the middle on, after a resume. */
  async same() {
    const mixing = { mixup: 0.2, cutmix: 1 };
    /** @type {Record<string, unknown[]>} */
    const results = {};
    for (const [workers, from] of [0, 1, 2, 8].flatMap((n) => [0, 2].map((f) => [n, f]))) {
      const loader = newLoader({ workers: workers ?? 0, mixing, onBadImage: "skip", seed: 7 });
      const batches = [];
      for await (const batch of loader.epoch(3, { from: from ?? 0 })) batches.push(describe(batch));
      await loader.close();
      results[`${workers} from ${from}`] = batches;
    }
    return results;
  },

  /** The end of an epoch by a signal, while images are decoded; and the next epoch. */
  async abort() {
    const loader = newLoader({ batchSize: 1, prefetch: 2 });
    const controller = new AbortController();
    let aborted = 0;
    const abort = () => {
      aborted = performance.now();
      controller.abort(new Error("stopped by hand"));
    };
    const failure = await failureOf(async () => {
      for (let epoch = 0; epoch < 100; epoch++) {
        for await (const batch of loader.epoch(epoch, { signal: controller.signal })) {
          batch.release();
          setTimeout(abort, 20);
        }
      }
    });
    const milliseconds = performance.now() - aborted;
    const next = [];
    for await (const batch of loader.epoch(1)) next.push(...describe(batch).indices);
    await loader.close();
    return { failure, milliseconds, next: next.sort((a, b) => a - b) };
  },

  /** A thread that ends, by `terminate`, while the consumer waits; then another that asks for more. */
  async "dying thread"() {
    const loader = newLoader({});
    const run = async () => {
      for (let epoch = 0; epoch < 1000; epoch++) {
        for await (const batch of loader.epoch(epoch)) {
          batch.release();
          void threads[1]?.terminate();
        }
      }
    };
    const failures = [await failureOf(run), await failureOf(run)];
    await loader.close();
    return { threads: threads.length, failures };
  },

  async "broken thread"() {
    const loader = newLoader({});
    const failure = await failureOf(() => loader.epoch(0).next());
    await loader.close();
    return { failure };
  },

  /** A consumer that is closed under; and threads that have just answered when they are to stop. */
  async close() {
    const loader = newLoader({});
    const waiting = failureOf(() => loader.epoch(0).next());
    await loader.close();
    const failures = [await waiting, await failureOf(() => loader.epoch(1).next())];
    const another = newLoader({ batchSize: 1, prefetch: 4 });
    const batches = another.epoch(0);
    await batches.next();
    // Long enough for answers to be on their way when the threads are stopped.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    await batches.return();
    await another.close();
    return { failures };
  },

  /** Never closed, in the middle of an epoch: the process ends all the same. */
  async "left open"() {
    const { value } = await newLoader({}).epoch(0).next();
    return { images: value?.labels.length };
  },

  /** Bytes resident at the end of each epoch. */
  async memory() {
    const loader = newLoader({ batchSize: 16 }, 224);
    const bytes = [];
    for (let epoch = 0; epoch < 36; epoch++) {
      for await (const batch of loader.epoch(epoch)) batch.release();
      bytes.push(process.memoryUsage.rss());
    }
    await loader.close();
    return { bytes };
  },

  /** The most that one turn of the event loop took of a core. */
  async loop() {
    const loader = newLoader({ batchSize: 16 }, 224);
    const clock = openCpuClock();
    let [longest, isDone] = [0, false];
    let last = clock.now();
    const turn = () => {
      if (isDone) return;
      const now = clock.now();
      longest = Math.max(longest, now - last);
      last = now;
      setImmediate(turn);
    };
    setImmediate(turn);
    for (const epoch of [0, 1, 2]) {
      for await (const batch of loader.epoch(epoch)) batch.release();
    }
    isDone = true;
    await loader.close();
    clock.close();
    return { longest };
  },
};

const program = programs[what];
if (program === undefined) throw new Error(`no program ${what}`);
process.stdout.write(`${JSON.stringify(await program())}\n`);
