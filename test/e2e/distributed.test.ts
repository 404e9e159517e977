// Several processes of one machine train together, through the command line, over Gloo.

import { mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import { random } from "../checkpoint/support.js";
import { repkit } from "../helpers/cli.js";
import { childrenOf, isRunning, signalRank, startRank } from "../helpers/distributed.js";
import { freePort } from "../helpers/process-group.js";
import { runIn, savedRun } from "../helpers/runs.js";
import { describeTorch } from "../helpers/torch-engine.js";
import { configIn, drawImages, startRepkit, trainArguments } from "../helpers/training.js";

const TIMEOUT = 120_000; // ms
/** As many as the tests have time for; set it to 10 and more for a thorough trial. */
const KILLS = Number(process.env["REPKIT_TEST_KILLS"] ?? 2);

const folder = mkdtempSync(join(tmpdir(), "repkit-distributed-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** 8 steps of 4 images, 2 for each process. */
const alone = (out: string, ...more: string[]) => trainArguments(at("data"), at(out), ...more);
const args = (out: string, ...more: string[]) =>
  alone(out, ...["--nproc", "2", "--dist-timeout", "10", ...more]);
const LONG = ["--epochs", "500", "--save-every-steps", "1"];
const stepOf = (out: string) =>
  Number((savedRun(at(`${out}/last.ckpt`)).progress as { step: string }).step);

describeTorch("two processes", () => {
  beforeAll(async () => {
    await drawImages(at("data"));
    const { code, stdout, stderr } = repkit(...args("whole", "--save-every-steps", "3"));
    expect([code, stderr]).toEqual([0, expect.not.stringContaining("error") as unknown]);
    // What one process prints: one table, one summary; the other says nothing.
    expect(stdout).toMatch(/^MobileNet x base: trained after 2 epochs, 8 steps; /m);
    expect(stdout.match(/^EPOCH/gm)).toHaveLength(1);
    expect(stderr).toMatch(/epoch 1\/2 \| 1\/4 \| loss/);
    expect(stderr).not.toContain("[rank 1]");
  }, TIMEOUT);

  it("leave the files of one", () => {
    expect(readdirSync(at("whole")).sort()).toEqual([
      ...["best.ckpt", "config.json", "last.ckpt", "metrics.jsonl", "report.html", "train.log"],
    ]);
    expect(configIn(at("whole"))).toMatchObject({
      distributed: { worldSize: 1, rank: 0, nproc: 2, timeoutSeconds: 10 },
    });
    const { metrics } = runIn(at("whole"));
    expect(metrics.map((line) => String(line["kind"])).join(" ")).toBe(
      "step step step step epoch step step step step epoch",
    );
    // All 8 images were validated, whoever had them.
    const { acc1 } = metrics.at(-1) as unknown as { acc1: number };
    const tested = repkit("test", at("data"), at("whole/last.ckpt"), "--json");
    expect(JSON.parse(tested.stdout)).toMatchObject({ images: 8, acc1 });
  });

  it(
    "share an evaluation",
    () => {
      const { val_loss: loss, acc1 } = runIn(at("whole")).metrics.at(-1) as Record<string, number>;
      const resume = ["--resume", at("whole/last.ckpt"), "-e", "--json"];
      const { code, stdout } = repkit(...args("whole", ...resume));
      const found = JSON.parse(stdout) as { loss: number };
      expect([code, found]).toMatchObject([0, { images: 8, acc1 }]);
      expect(Math.abs(found.loss - loss!)).toBeLessThan(1e-5 * loss!);
    },
    TIMEOUT,
  );

  it(
    "stop on Ctrl-C, all after the same step; one process goes on, and two after it",
    async () => {
      const run = startRepkit(args("parts"));
      run.when("epoch 1/2 | 2/4", () => run.kill("SIGINT"));
      const { code, stdout, stderr } = await run.ending;
      expect([code, stderr]).toEqual([130, expect.not.stringContaining("error")]);
      expect(stdout).toMatch(/stopped after 0 epochs, [234] steps/);
      const step = stepOf("parts");

      const one = repkit(...alone("parts", "--resume", "auto", "--max-steps", "5"));
      expect([one.code, one.stderr]).toEqual([0, expect.not.stringContaining("batchSize was")]);
      expect([step <= 4, stepOf("parts")]).toEqual([true, 5]);
      const two = repkit(...args("parts", "--resume", "auto", "--json"));
      expect(two.code).toBe(0);
      expect(JSON.parse(two.stdout)).toMatchObject({ stopped: false, epochs: 2, steps: 8 });
      // Batch norms make another world size another training, but the same file.
      const [parts, whole] = [runIn(at("parts")), runIn(at("whole"))];
      const names = ({ last }: typeof parts) => last.tensors.map(([name]) => name);
      expect(names(parts)).toEqual(names(whole));
      expect(parts.metrics).toHaveLength(whole.metrics.length);
    },
    TIMEOUT,
  );

  it(
    `kill -9 of either at ${KILLS} moments: the job ends; the resumed run ends byte for byte as one that nobody killed`,
    async () => {
      const next = random(20_261_128);
      for (let kill = 0; kill < KILLS; kill++) {
        const rank = kill % 2;
        const more = ["--save-every-steps", "3", "--resume", "auto"];
        const run = startRepkit(args("killed", ...more));
        const ms = (400 * next(1000)) / 1000;
        const pid = await signalRank(run, rank, "SIGKILL", { after: "epoch ", ms });
        const { code, stderr } = await run.ending;
        if (pid === 0) continue; // it was over already
        expect([code, stderr]).toEqual([
          7,
          expect.stringMatching(
            new RegExp(`^error: rank ${rank} \\(process ${pid}\\): was killed by SIGKILL$`, "m"),
          ),
        ]);
        expect(stderr.match(/error/g)).toHaveLength(1);
        expect(childrenOf(run.pid)).toEqual([]);
      }
      const rest = repkit(...args("killed", "--save-every-steps", "3", "--resume", "auto"));
      expect(rest.code).toBe(0);
      expect(runIn(at("killed"))).toEqual(runIn(at("whole")));
    },
    TIMEOUT + KILLS * 20_000,
  );

  it(
    "one that hangs is named and ended within the timeout",
    async () => {
      const run = startRepkit(args("hung", ...LONG));
      const pid = await signalRank(run, 1, "SIGSTOP", { after: "epoch 1/500 | 2/4" });
      const stopped = performance.now();
      const { code, stderr } = await run.ending;
      expect(performance.now() - stopped).toBeLessThan(15_000); // the timeout, and the launcher's 5 s
      expect(code).toBe(7);
      expect(stderr).toMatch(/^error: rank 1 \(process \d+ on .*\): has not been heard from for /m);
      expect(isRunning(pid)).toBe(false);
      expect(stepOf("hung")).toBeGreaterThan(0);
    },
    TIMEOUT,
  );

  it(
    "end in order when their launcher is killed",
    async () => {
      const run = startRepkit(args("orphans", ...LONG));
      const children = await new Promise<number[]>((resolve) => {
        run.when("epoch 1/500 | 2/4", () => resolve(childrenOf(run.pid)));
      });
      run.kill("SIGKILL");
      await run.ending;
      expect(children).toHaveLength(2);
      const until = performance.now() + 10_000;
      while (children.some(isRunning) && performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      expect(children.filter(isRunning)).toEqual([]);
      expect(stepOf("orphans")).toBeGreaterThan(1);
    },
    TIMEOUT,
  );
});

describeTorch("processes that something else starts", () => {
  const both = async (...more: string[][]) => {
    const port = await freePort();
    return [0, 1].map((rank) =>
      startRank([...alone("env", "--dist-timeout", "10"), ...(more[rank] ?? [])], port, {
        rank,
        worldSize: 2,
      }),
    );
  };

  it(
    "are told by the environment who they are",
    async () => {
      const endings = await Promise.all((await both()).map(({ ending }) => ending));
      expect(endings.map(({ code, stdout }) => [code, stdout !== ""])).toEqual([
        [0, true],
        [0, false],
      ]);
      // As many processes, started otherwise.
      const [env, whole] = [runIn(at("env")), runIn(at("whole"))];
      expect([env.metrics, env.last.tensors]).toEqual([whole.metrics, whole.last.tensors]);
      rmSync(at("env"), { recursive: true });
    },
    TIMEOUT,
  );

  it(
    "all end where one lacks its images, or was told something else",
    async () => {
      renameSync(at("data"), at("elsewhere"));
      try {
        const [, ...flags] = alone("env", "--dist-timeout", "10").slice(1);
        const port = await freePort();
        const runs = ["elsewhere", "data"].map((data, rank) =>
          startRank(["train", at(data), ...flags], port, { rank, worldSize: 2 }),
        );
        const endings = await Promise.all(runs.map(({ ending }) => ending));
        expect(endings.map(({ code }) => code)).toEqual([3, 3]);
        expect(endings[1]!.stderr).toContain(`error: ${at("data")}`);
        expect(endings[0]!.stderr).toMatch(/^error: rank 1 \(process \d+ on .*\): .*data/m);
        // Not the minutes of a collective: they are told.
        expect(endings[0]!.duration).toBeLessThan(30_000);
      } finally {
        renameSync(at("elsewhere"), at("data"));
      }

      const told = await both([], ["--lr", "0.5"]);
      const endings = await Promise.all(told.map(({ ending }) => ending));
      expect(endings.map(({ code }) => code)).toEqual([2, 2]);
      expect(endings[1]!.stderr).toBe(
        "error: lr: 0.5 here and 0.02 in rank 0; start all processes with the same settings and images\n",
      );
    },
    TIMEOUT,
  );
});

describe("refusals", () => {
  it("name what is missing", () => {
    const { code, stderr } = repkit(
      ...alone("none", "--multiprocessing-distributed", "--device", "cpu"),
    );
    expect([code, stderr]).toEqual([
      7,
      "error: --multiprocessing-distributed: there is no GPU; on CPUs say how many processes with --nproc N\n",
    ]);
  });
});
