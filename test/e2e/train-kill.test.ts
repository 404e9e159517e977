// kill -9 at any moment loses no more than the steps since the last save, and breaks no file.

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, it } from "@jest/globals";

import { loadCheckpoint } from "../../src/checkpoint/index.js";
import { random } from "../checkpoint/support.js";
import { repkit } from "../helpers/cli.js";
import { checkpointsIn, runIn, savedRun } from "../helpers/runs.js";
import { describeTorch } from "../helpers/torch-engine.js";
import { drawImages, startRepkit, trainArguments } from "../helpers/training.js";

/** As many as the tests have time for; set it to 20 and more for a thorough trial. */
const KILLS = Number(process.env["REPKIT_TEST_KILLS"] ?? 8);
const TIMEOUT = 60_000 + KILLS * 15_000; // ms

const folder = mkdtempSync(join(tmpdir(), "repkit-train-kill-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** 24 steps, with a checkpoint at every other one. */
const args = (out: string) =>
  trainArguments(
    ...([at("data"), at(out), "--epochs", "6"] as const),
    ...["--save-every-steps", "2", "--keep", "2", "--ema-decay", "0.9"],
  );

/** Opens every checkpoint again and again, as somebody who looks at the run might. */
function watchCheckpoints(directory: string) {
  let looks = 0;
  const timer = setInterval(() => {
    for (const name of checkpointsIn(directory)) {
      try {
        loadCheckpoint(join(directory, name)).close();
        looks++;
      } catch (error) {
        // --keep has removed it in between.
        if (checkpointsIn(directory).includes(name)) throw error;
      }
    }
  }, 40);
  return () => {
    clearInterval(timer);
    return looks;
  };
}

describeTorch(`kill -9 at ${KILLS} moments of a run`, () => {
  beforeAll(async () => {
    await drawImages(at("data"));
    expect(repkit(...args("whole")).code).toBe(0);
  }, TIMEOUT);

  it(
    "the resumed run ends byte for byte as one that nobody killed",
    async () => {
      const next = random(20_261_123);
      const stopLooking = watchCheckpoints(at("killed"));
      const signals: (NodeJS.Signals | null)[] = [];
      const steps: number[] = [];
      for (let kill = 0; kill < KILLS; kill++) {
        const run = startRepkit([...args("killed"), "--resume", "auto"]);
        // Before its first step there is nothing to break.
        const moment = (500 * next(1000)) / 1000;
        run.when("epoch ", () => setTimeout(() => run.kill("SIGKILL"), moment));
        signals.push((await run.ending).signal);
        for (const name of checkpointsIn(at("killed"))) savedRun(join(at("killed"), name));
        const last = checkpointsIn(at("killed")).includes("last.ckpt");
        const progress = last ? savedRun(at("killed/last.ckpt")).progress : { step: "0" };
        steps.push(Number((progress as { step: string }).step));
      }
      const looks = stopLooking();
      expect(signals).toContain("SIGKILL");
      expect(steps).toEqual([...steps].sort((a, b) => a - b));
      expect(looks).toBeGreaterThan(KILLS);
      expect(repkit(...args("killed"), "--resume", "auto").code).toBe(0);
      expect(runIn(at("killed"))).toEqual(runIn(at("whole")));
      expect(readdirSync(at("killed")).filter((name) => name.startsWith(".lock"))).toEqual([]);
    },
    TIMEOUT,
  );
});
