// From drawn images to a deployed model: each command takes what the one before it made.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, it } from "@jest/globals";

import { openTensorFile } from "../../src/checkpoint/index.js";
import { repkit } from "../helpers/cli.js";
import { describeTorch } from "../helpers/torch-engine.js";
import { configIn } from "../helpers/training.js";

const TIMEOUT = 180_000; // ms

const folder = mkdtempSync(join(tmpdir(), "repkit-story-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The one JSON document of a command that goes well. */
function json(...args: string[]): Record<string, unknown> {
  const { code, stdout, stderr } = repkit(...args, "--json");
  expect([code, stderr.includes("error")]).toEqual([0, false]);
  expect(stdout.trimEnd().split("\n")).toHaveLength(1);
  return JSON.parse(stdout) as Record<string, unknown>;
}

function logitsIn(path: string) {
  const file = openTensorFile(path);
  const [logits, labels] = ["logits", "labels"].map((name) => file.get(name)!);
  file.close();
  return { logits: logits!, labels: labels! };
}

describeTorch("sample-data, train, test, convert, test, predict", () => {
  it(
    "the deployed model is the trained one, to the image",
    () => {
      json("sample-data", at("data"), "--classes", "4", "--train", "12", "--val", "8");

      const flags = [
        "-a",
        "ResNet-18",
        "-t",
        "DBB",
        "--img-size",
        "32",
        "-b",
        "8",
        "--aug",
        "weak",
      ];
      const pace = ["--epochs", "2", "--lr", "0.05", "-j", "1", "--tag", "first"];
      const out = at("run");
      const run = json("train", at("data"), ...flags, ...pace, "--out", out);
      expect(run).toMatchObject({
        ...{ arch: "ResNet-18", block: "DBB", directory: out, stopped: false },
        ...{ epochs: 2, steps: 12, conversion: { ok: true } },
      });
      const conversion = run["conversion"] as Record<string, number>;
      expect(conversion["acc1_after"]).toBe(conversion["acc1_before"]);
      expect(conversion["params_deploy"]).toBeLessThan(conversion["params_train"]!);

      // The directory tells the whole story by itself.
      expect(configIn(out)).toMatchObject({
        ...{ arch: "ResNet-18", block: "DBB", numClasses: 4, imgSize: 32, lr: 0.05, epochs: 2 },
        ...{ tag: "first", decayRule: "dbb", data: at("data") },
      });
      const report = readFileSync(join(out, "report.html"), "utf8");
      expect(report).toMatch(/^<!doctype html>[^]*<\/html>\n?$/i);
      for (const text of ["ResNet-18 x DBB", "<svg", "Conversion"]) expect(report).toContain(text);
      expect(report).not.toMatch(/<(script|link|img)[^>]*(src|href)=/);
      const log = readFileSync(join(out, "train.log"), "utf8").trimEnd().split("\n");
      const messages = log.map((line) => (JSON.parse(line) as { msg: string }).msg);
      expect([messages[0], messages.at(-1)]).toEqual(["training starts", "training ends"]);

      const trained = json(
        ...["test", at("data"), "train", join(out, "best.ckpt")],
        ...["--logits", at("trained.safetensors")],
      );
      expect(trained).toMatchObject({ acc1: run["best_acc1"], images: 32, img_size: 32 });

      json("convert", join(out, "best.ckpt"), at("deployed.ckpt"));
      const deployed = json(
        ...["test", at("data"), "deploy", at("deployed.ckpt")],
        ...["--logits", at("deployed.safetensors")],
      );
      expect(deployed["acc1"]).toBe(trained["acc1"]);
      const [before, after] = ["trained", "deployed"].map((name) =>
        logitsIn(at(`${name}.safetensors`)),
      );
      expect(after!.logits).toBeCloseToTensor(before!.logits, { relative: 1e-4 });
      expect(after!.labels).toEqual(before!.labels);

      const [image] = readdirSync(at("data/val/circle"));
      const seen = json("predict", at("deployed.ckpt"), at(`data/val/circle/${image}`));
      expect(JSON.stringify(seen)).toContain("circle");
    },
    TIMEOUT,
  );
});
