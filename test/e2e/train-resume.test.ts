// A training run that signals stop and that goes on, through the command line.

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, it } from "@jest/globals";

import { repkit } from "../helpers/cli.js";
import { runIn, savedRun } from "../helpers/runs.js";
import { describeTorch } from "../helpers/torch-engine.js";
import { drawImages, startRepkit, trainArguments } from "../helpers/training.js";

const TIMEOUT = 120_000; // ms

const folder = mkdtempSync(join(tmpdir(), "repkit-train-resume-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const args = (out: string, ...more: string[]) => trainArguments(at("data"), at(out), ...more);

describeTorch("a run that signals stop", () => {
  beforeAll(async () => {
    await drawImages(at("data"));
    const { code, stdout, stderr } = repkit(...args("whole"));
    expect([code, stderr.includes("error")]).toEqual([0, false]);
    expect(stdout).toMatch(/^MobileNet x base: trained after 2 epochs, 8 steps; /m);
    // One table.
    expect(stdout.match(/^EPOCH/gm)).toHaveLength(1);
  }, TIMEOUT);

  it(
    "saves where it is, says how to go on, and ends as if nobody had stopped it",
    async () => {
      const first = startRepkit(args("parts"));
      first.when("epoch 1/2 | 2/4", () => first.kill("SIGINT"));
      const interrupted = await first.ending;
      expect(interrupted).toMatchObject({ code: 130, signal: null });
      expect(interrupted.stderr).toContain("stopping after this step; once more to quit at once");
      expect(interrupted.stdout).toMatch(/stopped after 0 epochs, [234] steps/);
      expect(interrupted.stdout).toContain("go on with: repkit train ... --resume auto");
      const { progress } = savedRun(at("parts/last.ckpt"));
      expect(Number((progress as { step: string }).step)).toBeLessThanOrEqual(4);

      // Without --resume it would be overwritten.
      const refused = repkit(...args("parts"));
      expect([refused.code, refused.stdout]).toEqual([2, ""]);
      expect(refused.stderr).toBe(
        `error: ${at("parts")} holds a run already (last.ckpt): go on with --resume auto, or choose another --tag or --out\n`,
      );

      const second = startRepkit(args("parts", "--resume", "auto", "-j", "1", "--json"));
      second.when("epoch 2/2 | 1/4", () => second.kill("SIGTERM"));
      const terminated = await second.ending;
      expect(terminated).toMatchObject({ code: 143, signal: null });
      expect(JSON.parse(terminated.stdout)).toMatchObject({ stopped: true, epochs: 1 });

      // A path keeps the run in its directory.
      const [, ...flags] = args("parts");
      const withoutOut = flags.filter((_, i) => flags[i] !== "--out" && flags[i - 1] !== "--out");
      const last = repkit("train", ...withoutOut, "--resume", at("parts/last.ckpt"), "--json");
      expect(last.code).toBe(0);
      expect(JSON.parse(last.stdout)).toMatchObject({ stopped: false, epochs: 2, steps: 8 });
      expect(runIn(at("parts"))).toEqual(runIn(at("whole")));
      expect(readdirSync(at("parts")).sort()).toEqual([
        ...["best.ckpt", "config.json", "last.ckpt", "metrics.jsonl", "report.html", "train.log"],
      ]);
    },
    TIMEOUT,
  );

  it(
    "keeps others out of its directory while it lasts; two signals end it at once",
    async () => {
      const first = startRepkit(args("busy", "--epochs", "500", "--save-every-steps", "1"));
      const refused = await new Promise<ReturnType<typeof repkit>>((resolve) => {
        first.when("epoch 1/500 | 3/4", () => {
          resolve(repkit(...args("busy", "--resume", "auto")));
        });
      });
      expect([refused.code, refused.stdout]).toEqual([2, ""]);
      expect(refused.stderr).toMatch(
        /^error: .*busy is in use by process \d+ \(since .* UTC\); choose another --out\n$/,
      );
      first.kill("SIGINT");
      first.when("once more", () => first.kill("SIGINT"));
      expect(await first.ending).toMatchObject({ code: 130, signal: null });
      expect(readdirSync(at("busy")).filter((name) => name.startsWith("."))).toEqual([]);
      expect(savedRun(at("busy/last.ckpt")).tensors.length).toBeGreaterThan(100);
    },
    TIMEOUT,
  );

  it(
    "ends before its first step without a word of an internal error",
    async () => {
      for (const moment of [300, 600, 900, 1500]) {
        const run = startRepkit(args("early"));
        setTimeout(() => run.kill("SIGTERM"), moment);
        const { code, signal, stderr } = await run.ending;
        // Before Node listens, the signal ends the process itself; very late, there is nothing to stop.
        expect(["SIGTERM", 143, 0]).toContain(signal ?? code);
        expect(stderr).not.toContain("internal");
        rmSync(at("early"), { recursive: true, force: true });
      }
    },
    TIMEOUT,
  );
});
