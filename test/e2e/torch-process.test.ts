// The torch engine in a process of its own: its memory over many steps, and in worker threads.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";

import { expect, it } from "@jest/globals";

import { describeTorch } from "../helpers/torch-engine.js";
import { startRepkit } from "../helpers/training.js";

const PROGRAM = fileURLToPath(new URL("programs/train-steps.js", import.meta.url));
const TIMEOUT = 240_000;

function startWorker(steps: number): Worker {
  return new Worker(PROGRAM, { argv: [steps], execArgv: [] });
}

function lossesOf(worker: Worker): Promise<number[]> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

describeTorch("torch in a process", () => {
  it(
    "step after step holds no more memory; dispose gives it back",
    async () => {
      const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, "300", "30"]);
      const { disposed, ...steps } = JSON.parse(stdout) as Record<string, number>;
      const resident = Object.values(steps);
      expect(resident).toHaveLength(10);
      // A leak grows all the time, and of the megabytes that a step takes by more than an eighth of one;
      // the system and V8 take memory in a few jumps, at their own moments.
      const growth = resident.slice(2).map((bytes, i) => (bytes - resident[i + 1]!) / 30);
      expect(growth.toSorted((a, b) => a - b)[3]).toBeLessThan(128e3); // bytes a step; half of the eight are below
      // Parameters, velocities and gradients of 11.7 million weights, all but what malloc may keep.
      expect(resident.at(-1)! - disposed!).toBeGreaterThan(0.9 * 3 * 4 * 11.7e6);
    },
    TIMEOUT,
  );

  it(
    "Ctrl-C in mid-step: the step is finished, nothing crashes",
    async () => {
      const model = ["-a", "ResNet-18", "-t", "base", "--img-size", "96", "--steps", "10000"];
      for (const moment of [1500, 2000, 2500]) {
        const run = startRepkit(["bench", "step", ...model]);
        setTimeout(() => run.kill("SIGINT"), moment);
        expect(await run.ending).toMatchObject({ code: 130, signal: null, stderr: "" });
      }
    },
    TIMEOUT,
  );

  it(
    "worker threads train side by side, and one that is ended in mid-step harms nobody",
    async () => {
      const alone = await lossesOf(startWorker(3));
      expect(alone).toHaveLength(3);
      expect(new Set(alone).size).toBe(3);
      const doomed = startWorker(1000);
      const others = [startWorker(3), startWorker(3)].map(lossesOf);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await doomed.terminate();
      expect(await Promise.all(others)).toEqual([alone, alone]);
    },
    TIMEOUT,
  );
});
