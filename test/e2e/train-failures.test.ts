// What can go wrong with a training run: one line that says what to do, the right exit code, and nothing lost.

import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import { saveCheckpoint } from "../../src/checkpoint/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { repkit } from "../helpers/cli.js";
import { filledState } from "../helpers/fill.js";
import { savedRun } from "../helpers/runs.js";
import { describeTorch } from "../helpers/torch-engine.js";
import { drawImages, startRepkit, trainArguments } from "../helpers/training.js";

const TIMEOUT = 120_000; // ms

const folder = mkdtempSync(join(tmpdir(), "repkit-train-failures-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const args = (out: string, ...more: string[]) => trainArguments(at("data"), at(out), ...more);

beforeAll(async () => {
  await drawImages(at("data"));
  const model = buildModel({ arch: "RepVGG-A0", block: "base", numClasses: 4 });
  saveCheckpoint(at("other.ckpt"), { model, state: filledState(model.graph) });
  writeFileSync(at("recipe.yaml"), "arch: ResNet-18\nlr: fast\nepoch: 3\n");
  mkdirSync(at("no-val"));
  cpSync(at("data/train"), at("no-val/train"), { recursive: true });
  cpSync(at("data"), at("stranger"), { recursive: true });
  cpSync(at("data/val/circle"), at("stranger/val/ring"), { recursive: true });
});

describe("settings that cannot be: exit code 2, before anything is loaded or written", () => {
  it.each<[what: string, flags: string[], message: RegExp]>([
    ["an unknown flag", ["--epoch", "3"], /^error: unknown option '--epoch' .*--epochs/],
    ["an unknown architecture", ["-a", "MobilNet"], /^error: unknown architecture "MobilNet"; did/],
    ["no number", ["--lr", "fast"], /^error: --learning-rate: .*"fast"\n$/],
    ["an effect that is missing", ["--erasing-mode", "pixel"], /^error: .* without --erasing\n$/],
    [
      "nothing to evaluate",
      ["-e"],
      /^error: train --evaluate: expected weights .* received none\n/,
    ],
    [
      "a batch that three processes cannot share",
      ["--nproc", "3"],
      /^error: --batch-size 4: expected a multiple of --nproc 3\n$/,
    ],
  ])("%s", (_what, flags, message) => {
    const { code, stdout, stderr } = repkit(...args("none", ...flags));
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
    expect(existsSync(at("none"))).toBe(false);
  });

  it("a wrong recipe: all that is wrong with it, in lines", () => {
    const { code, stdout, stderr } = repkit("train", at("data"), "--config", at("recipe.yaml"));
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(at("recipe.yaml"));
    expect(stderr).toMatch(/expected a number above 0; received "fast"\n.* lr\n/);
    expect(stderr).toMatch(/unknown key; did you mean "epochs"\?\n.* epoch\n/);
  });
});

describeTorch("files that do not fit", () => {
  it.each<[what: string, code: number, flags: string[], message: string]>([
    [
      "no such folder",
      3,
      ["--data", at("gone")],
      `${at("gone")}: no such file or folder; to draw images`,
    ],
    ["no val/", 3, ["--data", at("no-val")], `${at("no-val")}: no folder val/ in it`],
    [
      "a class in val/ alone",
      3,
      ["--data", at("stranger")],
      `${at("stranger/val")}: 1 class that ${at("stranger/train")} does not have (ring)`,
    ],
    [
      "too large a batch",
      2,
      ["-b", "17"],
      `--batch-size: expected at most the 16 images of ${at("data/train")}, received 17`,
    ],
    [
      "too few classes",
      2,
      ["--num-classes", "3"],
      `--num-classes: expected at least the 4 classes of ${at("data")}, received 3`,
    ],
    [
      "weights of another model",
      3,
      ["--pretrained", at("other.ckpt")],
      `${at("other.ckpt")}: is a training RepVGG-A0 x base with 4 classes, but this run trains MobileNet x base`,
    ],
    [
      "no checkpoint of a run",
      3,
      ["--resume", at("other.ckpt"), "--out", at("none")],
      `${at("other.ckpt")}: is not the checkpoint of a run; to start from its weights use --pretrained`,
    ],
    [
      "a run directory inside a file",
      3,
      ["--out", at("other.ckpt/run")],
      `${at("other.ckpt/run")}: a part of the path is not a folder`,
    ],
  ])("%s", (_what, code, flags, message) => {
    const isElsewhere = flags.includes("--data");
    const [command, data, ...rest] = args("none");
    const given = isElsewhere ? [command!, ...rest] : [command!, data!, ...rest];
    const outcome = repkit(...given, ...flags);
    expect([outcome.code, outcome.stdout]).toEqual([code, ""]);
    expect(outcome.stderr.startsWith(`error: ${message}`)).toBe(true);
    expect(outcome.stderr.split("\n")).toHaveLength(2);
    rmSync(at("none"), { recursive: true, force: true });
  });
});

describeTorch("a run that breaks", () => {
  /** Saves after each step, so that there is something to keep. */
  const endless = (out: string) => args(out, "--epochs", "500", "--save-every-steps", "1");

  /** Starts one, breaks it after a few steps, and expects the checkpoint to be whole. */
  async function broken(out: string, act: () => void, where = out) {
    const run = startRepkit(endless(out));
    run.when("epoch 1/500 | 3/4", act);
    const ending = await run.ending;
    const [last, ...others] = ending.stderr.split("\n").filter((line) => line.startsWith("error"));
    expect([ending.code, ending.stdout, others]).toEqual([3, expect.anything(), []]);
    const { progress } = savedRun(at(`${where}/last.ckpt`));
    expect(Number((progress as { step: string }).step)).toBeGreaterThanOrEqual(2);
    return last!;
  }

  it(
    "images that vanish",
    async () => {
      cpSync(at("data"), at("vanishing"), { recursive: true });
      const [command, , ...rest] = endless("orphan");
      const run = startRepkit([command!, at("vanishing"), ...rest]);
      run.when("epoch 1/500 | 3/4", () => rmSync(at("vanishing"), { recursive: true }));
      const { code, stderr } = await run.ending;
      expect(code).toBe(3);
      const [message, ...more] = stderr.split("\n").filter((line) => line.startsWith("error"));
      expect(message).toMatch(/^error: .*\/(train|val)\/.*\.jpg: no such file or folder$/);
      expect(more).toEqual([]);
      expect(savedRun(at("orphan/last.ckpt")).tensors.length).toBeGreaterThan(100);
      // With the images back it goes on.
      const again = repkit(
        ...args("orphan", "--resume", "auto", "--epochs", "500", "--max-steps", "9"),
      );
      expect(again.code).toBe(0);
    },
    TIMEOUT,
  );

  it(
    "a run directory that is moved away",
    async () => {
      const move = () => renameSync(at("moved"), at("kept"));
      const message = await broken("moved", move, "kept");
      expect(message).toMatch(/^error: .*moved\/\S+: .*(does not exist|no such file or folder)$/);
    },
    TIMEOUT,
  );

  // Root may write everywhere.
  (process.getuid?.() === 0 ? it.skip : it)(
    "a run directory that is write-protected",
    async () => {
      const message = await broken("protected", () => chmodSync(at("protected"), 0o555));
      chmodSync(at("protected"), 0o755);
      expect(message).toMatch(/^error: .*protected\/last.ckpt: cannot write: permission denied$/);
    },
    TIMEOUT,
  );

  // A limit on the size of files stands in for a full disk, which takes rights to make.
  it(
    "no space for the next checkpoint",
    async () => {
      expect(repkit(...args("full", "--max-steps", "2")).code).toBe(0);
      const before = savedRun(at("full/last.ckpt"));
      const { code, stderr } = await startRepkit(args("full", "--resume", "auto"), 4000).ending;
      expect(code).toBe(3);
      expect(stderr).toMatch(/\nerror: .*full\/last\.ckpt: cannot write: .*\n$/);
      expect(savedRun(at("full/last.ckpt"))).toEqual(before);
      expect(readdirSync(at("full")).filter((name) => name.startsWith("."))).toEqual([]);
    },
    TIMEOUT,
  );

  it("a loss that explodes: exit code 6, and which checkpoint is good", () => {
    expect(repkit(...args("diverged", "--max-steps", "2")).code).toBe(0);
    const before = savedRun(at("diverged/last.ckpt"));
    const { code, stderr } = repkit(...args("diverged", "--resume", "auto", "--lr", "1e9"));
    expect(code).toBe(6);
    expect(stderr).toMatch(
      /\nerror: the loss (grew to \S+|is not a number) in epoch 1, step [34], at a learning rate of \S+; .*diverged\/last\.ckpt, from which the run went on, is good; try a lower --lr, .*\n$/,
    );
    expect(savedRun(at("diverged/last.ckpt"))).toEqual(before);
    const log = readFileSync(at("diverged/train.log"), "utf8").trim().split("\n");
    expect(JSON.parse(log.at(-1)!)).toMatchObject({
      msg: "training failed",
      err: { message: expect.stringContaining("from which the run went on") },
    });
  });

  it("a class without validation images is worth a word, and no more", () => {
    cpSync(at("data"), at("thin"), { recursive: true });
    rmSync(at("thin/val/circle"), { recursive: true });
    const [command, , ...rest] = args("thin-run", "--epochs", "1");
    const { code, stderr } = repkit(command!, at("thin"), ...rest);
    expect(code).toBe(0);
    expect(stderr).toContain("val/ has no images of 1 of the 4 classes (circle)\n");
  });
});
