// Which model a test is of, and at which size it looks at images.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { openModel, type ModelChoice } from "../../src/evaluate/model.js";
import { writeFilled } from "../helpers/deployed.js";
import { failureOf } from "../helpers/failures.js";

const folder = mkdtempSync(join(tmpdir(), "repkit-model-"));
const at = (name: string) => join(folder, name);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const options = { arch: "MobileNet", block: "DBB", numClasses: 3, imageSize: 64 };
beforeAll(() => {
  writeFilled(at("train.ckpt"), options);
  writeFilled(at("train.pth"), options);
  writeFilled(at("deploy.pth"), { ...options, structure: "deploy" } as typeof options);
  writeFilled(at("resized.ckpt"), options, { recipe: { valResize: 80 } });
});

function view(choice: ModelChoice) {
  const { checkpoint, view } = openModel(choice);
  checkpoint.close();
  return view;
}

describe("the size of images", () => {
  test.each([
    ["the checkpoint's", { weights: "train.ckpt" }, 64, 73],
    ["224 where it says nothing", { weights: "train.pth" }, 224, 256],
    ["as asked", { weights: "train.ckpt", imageSize: 96 }, 96, 110],
    ["resized as asked", { weights: "train.ckpt", resize: 64 }, 64, 64],
    ["resized as in training", { weights: "resized.ckpt" }, 64, 80],
    ["of another size, not as in training", { weights: "resized.ckpt", imageSize: 96 }, 96, 110],
  ])("%s", (_what, choice, crop, resize) => {
    const weights = at(choice.weights);
    expect(view({ ...choice, weights })).toEqual({ kind: "evaluation", resize, crop });
  });

  test.each([63, 8193, 72.5])("--val-resize %d is refused", async (resize) => {
    const { kind, message } = await failureOf(() => view({ weights: at("train.ckpt"), resize }));
    expect([kind, message]).toEqual([
      "usage",
      `--val-resize: expected pixels from 64 (--img-size) to 8192, received ${resize}`,
    ]);
  });
});

describe("a MODE that contradicts the file is told what the file is", () => {
  test.each([
    ["deploy", "train.ckpt", "a training MobileNet x DBB with 3 classes", "deployed"],
    ["deploy", "train.pth", "a training MobileNet x DBB with 3 classes", "deployed"],
    ["train", "deploy.pth", "a deployed MobileNet x", "training"],
  ] as const)("%s of %s", async (structure, name, what, asked) => {
    const { kind, message, details } = await failureOf(() =>
      view({ weights: at(name), structure }),
    );
    expect(kind).toBe("file");
    expect(details).toMatchObject({ reason: "other-model" });
    expect(message).toContain(`${name}: is ${what}`);
    expect(message).toContain(`you asked for the ${asked} structure`);
  });

  test.each(["train", "deploy"] as const)("%s that agrees", (structure) => {
    expect(view({ weights: at(`${structure}.pth`), structure })).toMatchObject({ crop: 224 });
  });
});
