// The recipes in configs/: each is valid, and its numbers are where its source has them.

import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "@jest/globals";

import type { TrainConfig } from "../../src/train/config.js";
import type { Recipe } from "../../src/train/recipe-schema.js";
import { readRecipe } from "../../src/train/recipe.js";
import { resolveConfig } from "../../src/train/resolve-config.js";

const FOLDER = fileURLToPath(new URL("../../configs/", import.meta.url));

const config = (name: string, flags: Recipe = {}): TrainConfig =>
  resolveConfig({ recipe: readRecipe(`${FOLDER}${name}`), flags });

/** What all of ImageNet's recipes but RepVGGplus's share. */
const COMMON = {
  ...{ epochs: 120, lr: 0.1, momentum: 0.9, nesterov: false, weightDecay: 1e-4 },
  ...{ batchSize: 256, imgSize: 224, valResize: 256, labelSmoothing: 0, mixing: null },
  custwd: false,
} as const;
const COSINE = { kind: "cosine" } as const;

const EXPECTED: Readonly<Record<string, Partial<TrainConfig>>> = {
  "sample-data.yaml": {
    ...{ arch: "ResNet-18", block: "DBB", imgSize: 48, valResize: 55, batchSize: 16, epochs: 6 },
    ...{ lr: 0.01, momentum: 0.9, weightDecay: 1e-4, decayRule: "dbb", augment: {} },
    schedule: { decline: COSINE, warmup: null },
  },
  "cpu-small.yaml": {
    ...{ arch: "ResNet-18", block: "DBB", imgSize: 64, valResize: 73, batchSize: 64, epochs: 8 },
    ...{ lr: 0.05, momentum: 0.9, weightDecay: 1e-4, decayRule: "dbb", augment: {} },
    schedule: { decline: COSINE, warmup: null },
  },
  "resnet.yaml": {
    ...COMMON,
    ...{ arch: "ResNet-18", block: "DBB", decayRule: "dbb" },
    schedule: { decline: COSINE, warmup: null },
    augment: { colorJitter: { brightness: 0.4, saturation: 0.4, hue: 0.4 }, lighting: 0.1 },
  },
  "repvgg.yaml": {
    ...COMMON,
    ...{ arch: "RepVGG-A0", block: "RepVGG", decayRule: "repvgg_paper", augment: {} },
    schedule: { decline: COSINE, warmup: null },
  },
  "repvggplus.yaml": {
    ...{ arch: "RepVGGplus-L2pse", block: "RepVGGplus", epochs: 300, lr: 0.1, batchSize: 256 },
    ...{ imgSize: 256, weightDecay: 4e-5, labelSmoothing: 0.1, nesterov: true },
    ...{ decayRule: "repvgg_repo", auxiliaryWeight: 0.1, augment: { randAugment: "raug15" } },
    mixing: { mixup: 0.2, cutmix: 0, probability: 1, switchProbability: 0.5 },
    schedule: { decline: COSINE, warmup: { form: "timm", unit: "epochs", length: 5 } },
  },
  "orepa.yaml": {
    ...COMMON,
    ...{ arch: "ResNet-18", block: "OREPA", decayRule: "orepa", augment: {}, valBatchSize: 100 },
    schedule: { decline: COSINE, warmup: { form: "orepa", unit: "iterations", length: 5 } },
  },
};

describe("configs/", () => {
  it.each(readdirSync(FOLDER))("%s has its source's settings", (name) => {
    expect(EXPECTED).toHaveProperty([name]);
    expect(config(name)).toMatchObject(EXPECTED[name]!);
  });

  it.each([
    ["resnet.yaml", "ResNet-50", "base"],
    ["resnet.yaml", "ResNet-18", "ACB"],
    ["repvgg.yaml", "RepVGG-B2", "RepVGG"],
    ["orepa.yaml", "ResNet-50", "OREPA"],
    ["orepa.yaml", "RepVGG-A0", "OREPA_VGG"],
  ])("%s serves %s x %s alike", (name, arch, blocktype) => {
    const { out, ...other } = config(name, { arch, blocktype });
    const { out: _out, ...own } = config(name);
    expect(other).toEqual({ ...own, arch, block: blocktype });
    expect(out).toBe(`runs/${arch}_${blocktype}`);
  });

  it("RepVGG's command is its recipe with the flags that the file names", () => {
    const { schedule, decayRule, nesterov } = config("repvgg.yaml", {
      ...{ epochs: 300, "warmup-epochs": 5, "warmup-form": "timm" },
      ...{ "decay-rule": "repvgg_repo", nesterov: true },
    });
    expect(schedule.warmup).toEqual({ form: "timm", unit: "epochs", length: 5 });
    expect([decayRule, nesterov]).toEqual(["repvgg_repo", true]);
  });
});
