// Gradients averaged over processes are those of one process with all the images.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { afterAll, beforeAll, expect, it } from "@jest/globals";

import { writeSampleData } from "../../src/data/sample-data.js";
import { freePort } from "../helpers/process-group.js";
import { describeTorch } from "../helpers/torch-engine.js";

const SCRIPT = fileURLToPath(new URL("../helpers/train-deployed.js", import.meta.url));
const TIMEOUT = 120_000; // ms
const STEPS = 10;
const run = promisify(execFile);

const folder = mkdtempSync(join(tmpdir(), "repkit-exact-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Trained {
  losses: number[];
  hash: string;
  weights: number[];
}

/** What each of so many processes has after 10 steps of 32 images, without batch norms. */
async function trained(worldSize: number): Promise<Trained[]> {
  const url = `tcp://127.0.0.1:${await freePort()}`;
  const { NODE_OPTIONS: _options, ...env } = process.env;
  return Promise.all(
    Array.from({ length: worldSize }, async (_, rank) => {
      const args = [SCRIPT, String(rank), String(worldSize), url, folder, String(STEPS)];
      const { stdout } = await run(process.execPath, args, { env, maxBuffer: 2 ** 28 });
      return JSON.parse(stdout) as Trained;
    }),
  );
}

const largest = (values: readonly number[]) =>
  values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const difference = (a: readonly number[], b: readonly number[]) =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);

describeTorch("without batch norms", () => {
  let one: Trained;
  beforeAll(async () => {
    await writeSampleData(folder, { classes: 4, train: 16, val: 1 });
    [one] = (await trained(1)) as [Trained];
  }, TIMEOUT);

  it.each([2, 4])(
    "%d processes have the losses and weights of one, within 1e-5, and all the same bits",
    async (worldSize) => {
      const [leader, ...others] = (await trained(worldSize)) as [Trained, ...Trained[]];
      for (const { hash, losses } of others) {
        expect(hash).toBe(leader.hash);
        expect(losses).toEqual(leader.losses);
      }
      expect(leader.losses).toHaveLength(STEPS);
      // It learns something; otherwise all would be the same without doing.
      expect(
        difference(
          one.losses,
          one.losses.map(() => one.losses[0]!),
        ),
      ).toBeGreaterThan(1e-3);
      expect(difference(leader.losses, one.losses)).toBeLessThan(1e-5);
      expect(leader.weights).toHaveLength(one.weights.length);
      expect(largest(one.weights)).toBeGreaterThan(0.1);
      expect(difference(leader.weights, one.weights)).toBeLessThan(1e-5);
    },
    TIMEOUT,
  );
});
