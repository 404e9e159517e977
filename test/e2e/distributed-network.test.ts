// Two "hosts": network namespaces with an address each, joined by a cable that can be pulled.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import { repkit } from "../helpers/cli.js";
import { runIn, savedRun } from "../helpers/runs.js";
import { describeTorch } from "../helpers/torch-engine.js";
import {
  drawImages,
  type RunningCommand,
  startRepkit,
  trainArguments,
} from "../helpers/training.js";

const TIMEOUT = 120_000; // ms
const LIMIT = 8; // --dist-timeout, in seconds

const folder = mkdtempSync(join(tmpdir(), "repkit-network-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const HOSTS = [0, 1].map((host) => ({
  name: `repkit-${process.pid}-${host}`,
  device: `rk${process.pid % 100_000}v${host}`,
  address: `10.213.7.${host + 1}`,
}));

function ip(...args: string[]): boolean {
  return spawnSync("ip", args, { stdio: "ignore" }).status === 0;
}

function lay(): boolean {
  const [a, b] = HOSTS as [(typeof HOSTS)[0], (typeof HOSTS)[0]];
  if (!HOSTS.every(({ name }) => ip("netns", "add", name))) return false;
  if (!ip("link", "add", a.device, "type", "veth", "peer", "name", b.device)) return false;
  return HOSTS.every(
    ({ name, device, address }) =>
      ip("link", "set", device, "netns", name) &&
      ip("-n", name, "addr", "add", `${address}/24`, "dev", device) &&
      ip("-n", name, "link", "set", device, "up") &&
      ip("-n", name, "link", "set", "lo", "up"),
  );
}

const isLaid = lay();
afterAll(() => {
  for (const { name } of HOSTS) ip("netns", "del", name);
});

/** The command of one host, with a run directory of its own. */
function start(host: number, ...more: string[]): RunningCommand {
  const where = ["--world-size", "2", "--rank", String(host)];
  const url = ["--dist-url", `tcp://${HOSTS[0]!.address}:29511`, "--dist-timeout", String(LIMIT)];
  const args = trainArguments(at("data"), at(`run${host}`), "-b", "2", ...where, ...url, ...more);
  return startRepkit(args, undefined, {}, ["ip", "netns", "exec", HOSTS[host]!.name]);
}

const both = (...more: string[]) => [0, 1].map((host) => start(host, ...more));
const suite = "two hosts on a network";

if (!isLaid) {
  describe.skip(`${suite}, skipped: needs root and iproute2's network namespaces`, () => {
    it("runs", () => undefined);
  });
} else {
  describeTorch(suite, () => {
    beforeAll(async () => drawImages(at("data")), TIMEOUT);

    it(
      "train as two processes of one machine do; the leader alone writes",
      async () => {
        const endings = await Promise.all(both().map(({ ending }) => ending));
        expect(endings.map(({ code }) => code)).toEqual([0, 0]);
        expect(repkit(...trainArguments(at("data"), at("one"), "--nproc", "2")).code).toBe(0);
        // 2 images of each host are a batch of 4.
        const [hosts, one] = [runIn(at("run0")), runIn(at("one"))];
        expect([hosts.metrics, hosts.last.tensors]).toEqual([one.metrics, one.last.tensors]);
        expect(() => runIn(at("run1"))).toThrow();
        rmSync(at("run0"), { recursive: true });
      },
      TIMEOUT,
    );

    it(
      "end cleanly, both, when the cable is pulled: named, in time, and resumable",
      async () => {
        const runs = both("--epochs", "500", "--save-every-steps", "1");
        const pulled = await new Promise<number>((resolve) => {
          runs[0]!.when("epoch 1/500 | 2/4", () => {
            ip("-n", HOSTS[1]!.name, "link", "set", HOSTS[1]!.device, "down");
            resolve(performance.now());
          });
          void runs[0]!.ending.then(() => resolve(NaN));
        });
        const endings = await Promise.all(
          runs.map(async ({ ending }) => ({
            ...(await ending),
            after: performance.now() - pulled,
          })),
        );
        expect(endings.map(({ code, signal }) => [code, signal])).toEqual([
          [7, null],
          [7, null],
        ]);
        for (const { after } of endings) expect(after).toBeLessThan(1000 * (LIMIT + 4)); // and the exit
        expect(endings[0]!.stderr).toMatch(/^error: rank 1 \(process \d+ on .*\): has not been/m);
        expect(endings[1]!.stderr).toMatch(
          /^error: rank 0 \(process \d+ on .*\): its store at tcp:\/\/10\.213\.7\.1:29511 cannot be reached/m,
        );
        const { step } = savedRun(at("run0/last.ckpt")).progress as { step: string };
        expect(Number(step)).toBeGreaterThan(0);
        const more = [
          "--resume",
          "auto",
          "--epochs",
          "500",
          "--max-steps",
          String(Number(step) + 1),
        ];
        expect(repkit(...trainArguments(at("data"), at("run0"), ...more)).code).toBe(0);
      },
      TIMEOUT,
    );
  });
}
