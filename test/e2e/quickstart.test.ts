// npm run quickstart, on fewer images and epochs, where there is an engine to train with.

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "@jest/globals";

import { loadTorchEngine } from "../helpers/torch-engine.js";
import { temporaryFolder } from "../helpers/torch-trees.js";

const QUICKSTART = fileURLToPath(new URL("../../scripts/quickstart.js", import.meta.url));
const SMALL = ["--epochs", "1", "--train", "8"];
const folder = temporaryFolder();

const quickstart = (...args: string[]) =>
  spawnSync(process.execPath, [QUICKSTART, ...args], { encoding: "utf8" });

const withEngine = loadTorchEngine() === undefined ? it.skip : it;

describe("scripts/quickstart.js", () => {
  withEngine(
    "ends with as many right answers deployed as trained, and begins anew the next time",
    () => {
      const place = join(folder, "whole");
      mkdirSync(place);
      writeFileSync(join(place, "made-by-quickstart"), "");
      writeFileSync(join(place, "deployed.ckpt"), "of an earlier time");
      const { status, stdout, stderr } = quickstart(place, ...SMALL);
      expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });

      const answers = /^right answers +(\d+) of 100 +(\d+) of 100 +equal$/m.exec(stdout);
      expect(answers?.[1]).toBe(answers?.[2]);
      expect(stdout).toMatch(/^parameters, M +25\.78 +11\.17 +2\.31x$/m);
      expect(readFileSync(join(place, "deployed.ckpt")).length).toBeGreaterThan(4 * 11e6);
      const commands = [...stderr.matchAll(/^\$ repkit (\S+)/gm)].map((shown) => shown[1]);
      expect(commands.join(" ")).toBe("sample-data train test convert test verify");
    },
    600_000,
  );

  withEngine(
    "stopped by Ctrl-C: one line, and the signal's exit code",
    async () => {
      const child = spawn(process.execPath, [QUICKSTART, join(folder, "stopped"), ...SMALL], {
        detached: true, // a process group, as a terminal's
        stdio: ["ignore", "ignore", "pipe"],
      });
      let errors = "";
      const { code } = await new Promise<{ code: number | null }>((done) => {
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
          const isTraining = errors.includes("$ repkit train");
          errors += text;
          if (!isTraining && errors.includes("$ repkit train")) {
            setTimeout(() => process.kill(-child.pid!, "SIGINT"), 1000);
          }
        });
        child.on("close", (code) => done({ code }));
      });
      expect(errors.trimEnd().split("\n").at(-1)).toBe(
        "quickstart: stopped; `npm run quickstart` begins anew",
      );
      expect(code).toBe(130);
    },
    120_000,
  );

  withEngine("a folder of other files is left alone", () => {
    writeFileSync(join(folder, "mine"), "mine");
    const { status, stderr } = quickstart(folder);
    expect(status).toBe(3);
    expect(stderr).toBe(
      `quickstart: ${folder} is not empty; name a folder that does not exist yet\n`,
    );
    expect(readFileSync(join(folder, "mine"), "utf8")).toBe("mine");
  });

  it.each([
    ["--epoch", "2"],
    ["a", "b"],
  ])("knows no %s %s", (...args) => {
    const { status, stderr } = quickstart(...args);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^quickstart: usage: .*\n$/);
  });
});
