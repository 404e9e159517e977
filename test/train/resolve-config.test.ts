import { describe, expect, it } from "@jest/globals";

import type { TrainConfig } from "../../src/train/config.js";
import { type Recipe, type SettingName, SETTINGS } from "../../src/train/recipe-schema.js";
import { resolveConfig, type Sources } from "../../src/train/resolve-config.js";
import { trainingOptions } from "../../src/train/training-options.js";

const resolved = (flags: Recipe, recipe: Recipe = {}, environment: Sources["environment"] = {}) =>
  resolveConfig({ flags: { arch: "ResNet-18", ...flags }, recipe, environment });

describe("resolveConfig", () => {
  it("survives JSON and leaves nothing open", () => {
    const config = resolved({ mixup: 0.2, "warmup-epochs": 5, nproc: 2, tag: "a" });
    expect(JSON.parse(JSON.stringify(config))).toEqual(config);
    expect(Object.values(config)).not.toContain(undefined);
  });

  it("has the references' settings by default", () => {
    expect(resolved({ blocktype: "DBB" })).toMatchObject({
      ...{ arch: "ResNet-18", block: "DBB", data: "./data", out: "runs/ResNet-18_DBB" },
      ...{ epochs: 120, batchSize: 256, valBatchSize: 256, imgSize: 224, valResize: 256 },
      ...{ lr: 0.1, momentum: 0.9, nesterov: false, weightDecay: 1e-4, decayRule: "dbb" },
      ...{ labelSmoothing: 0, seed: 0, precision: "fp32", engine: "auto", device: null },
      schedule: { decline: { kind: "cosine" }, warmup: null },
      augment: { colorJitter: { brightness: 0.4, saturation: 0.4, hue: 0.4 }, lighting: 0.1 },
      ...{ mixing: null, distributed: null, clipNorm: null, emaDecay: null, maxSteps: null },
      ...{ custwd: false, tag: null, saveEverySteps: null, numClasses: null, pretrained: null },
      onBadImage: "fail",
    } satisfies Partial<TrainConfig>);
  });

  it.each([
    ["ResNet-50", "base", "dbb", true, false],
    ["MobileNet", "DBB", "dbb", false, false],
    ["ResNet-50", "OREPA", "orepa", false, false],
    ["RepVGG-A0", "OREPA_VGG", "orepa", false, false],
    ["RepVGG-A0", "RepVGG", "repvgg_repo", false, true],
    ["RepVGG-A0", "base", "repvgg_repo", false, true],
    ["RepVGGplus-L2pse", "RepVGGplus", "repvgg_repo", false, true],
  ])("%s x %s goes by its repository", (arch, blocktype, rule, strong, nesterov) => {
    const config = resolved({ arch, blocktype });
    expect(config.decayRule).toBe(rule);
    expect("colorJitter" in config.augment).toBe(strong);
    expect(config.nesterov).toBe(nesterov);
  });

  it("takes the architecture's own block", () => {
    expect(resolved({ arch: "RepVGG-A0" }).block).toBe("RepVGG");
    expect(resolved({}).block).toBe("base");
  });

  it("warms OREPA up for epochs/24 iterations unless told otherwise", () => {
    const warmup = (flags: Recipe) => resolved({ blocktype: "OREPA", ...flags }).schedule.warmup;
    expect(warmup({})).toEqual({ form: "orepa", unit: "iterations", length: 5 });
    expect(warmup({ epochs: 90 })).toMatchObject({ length: 3.75 });
    expect(warmup({ "warmup-epochs": 2 })).toEqual({ form: "orepa", unit: "epochs", length: 2 });
    expect(warmup({ "warmup-epochs": 0 })).toBeNull();
  });

  it("lets flags win over the recipe, and both over defaults", () => {
    const recipe = { epochs: 8, lr: 0.05, "print-freq": 3 };
    expect(resolved({ lr: 0.2 }, recipe)).toMatchObject({ epochs: 8, lr: 0.2, printFreq: 3 });
    expect(resolved({ nesterov: false }, { nesterov: true }).nesterov).toBe(false);
    expect(resolved({ device: "cpu" }, { gpu: 1 }).device).toBe("cpu");
    expect(resolved({ gpu: 1 }, { device: "cpu", nproc: 4 })).toMatchObject({
      device: "cuda:1",
      distributed: null,
    });
  });

  it("takes DATA from the flags, the environment, the recipe", () => {
    const environment = { REPKIT_DATA: "/env" };
    expect(resolved({ data: "/flag" }, { data: "/recipe" }, environment).data).toBe("/flag");
    expect(resolved({}, { data: "/recipe" }, environment).data).toBe("/env");
    expect(resolved({}, { data: "/recipe" }).data).toBe("/recipe");
  });

  it("lets a warm-up or an augmentation take the place of another", () => {
    expect(resolved({ "warmup-iterations": 9 }, { "warmup-epochs": 5 }).schedule.warmup).toEqual({
      ...{ form: "linear", unit: "iterations", length: 9 },
    });
    const recipe = { "rand-augment": "raug15", erasing: 0.25, lighting: 0.2 };
    expect(resolved({}, { ...recipe, aug: "weak" }).augment).toEqual({
      lighting: 0.2,
      randAugment: "raug15",
      randomErasing: { probability: 0.25, mode: "pixel" },
    });
    expect(resolved({ aug: "weak" }, recipe).augment).toEqual({});
  });

  it("can switch parts of a preset off", () => {
    const flags = { aug: "strong", "color-jitter": { hue: 0 }, lighting: 0 } as const;
    expect(resolved(flags).augment).toEqual({});
  });

  it("keeps the proportion of validation images, and of mixing", () => {
    expect(resolved({ "img-size": 64 }).valResize).toBe(73);
    expect(resolved({ cutmix: 1, "mix-probability": 0.5 }).mixing).toEqual({
      ...{ mixup: 0, cutmix: 1, probability: 0.5, switchProbability: 0.5 },
    });
  });

  it.each<[Recipe, string]>([
    [{ arch: "ResNet-19" }, 'unknown architecture "ResNet-19"; did you mean "ResNet-18"?'],
    [{ "start-epoch": 8, epochs: 8 }, "--start-epoch 8: expected fewer than --epochs 8"],
    [{ "warmup-epochs": 5, epochs: 4 }, "--warmup-epochs 5: expected fewer than --epochs 4"],
    [
      { "warmup-epochs": 5, "warmup-iterations": 5 },
      "--warmup-epochs 5 and --warmup-iterations 5: leave out --warmup-epochs or --warmup-iterations",
    ],
    [{ gpu: 0, device: "cpu" }, "--gpu 0 and --device cpu: leave out --gpu or --device"],
    [{ "val-resize": 100 }, "--val-resize 100: expected at least --img-size 224"],
    [{ nesterov: true, momentum: 0 }, "--nesterov: needs a momentum"],
    [{ "insert-bn": true }, "--insert-bn: needs converted weights to start from; add --pretrained"],
    [{ "step-epochs": 9 }, "--step-epochs 9: has no effect without --schedule step"],
    [{ "erasing-mode": "rand" }, "--erasing-mode rand: has no effect without --erasing"],
    [{ "mix-probability": 1 }, "--mix-probability 1: has no effect without --mixup or --cutmix"],
    [
      { mixup: 1, "mix-switch-probability": 1 },
      "--mix-switch-probability 1: has no effect without --mixup and --cutmix",
    ],
    [{ "warmup-form": "timm" }, "--warmup-form timm: has no effect without --warmup-epochs or"],
    [{ rank: 1 }, "--rank 1: has no effect without --world-size, --nproc or"],
    [{ nproc: 3 }, "--batch-size 256: expected a multiple of --nproc 3"],
    [{ nproc: 2, device: "cpu", "dist-backend": "nccl" }, "--dist-backend nccl: needs GPUs"],
  ])("refuses %j", (flags, message) => {
    expect(() => resolved(flags)).toThrow(message);
    if (flags.arch === undefined) {
      expect(() => resolveConfig({ recipe: { arch: "ResNet-18", ...flags } })).toThrow(message);
    }
  });

  it("needs an architecture", () => {
    expect(() => resolveConfig({})).toThrow("train: expected an architecture (-a, or arch in");
  });

  it("leaves what a recipe says about a thing that flags switch off without complaint", () => {
    expect(resolved({ mixup: 0 }, { mixup: 0.2, "mix-probability": 0.5 }).mixing).toBeNull();
    const recipe = { schedule: "step", "step-epochs": 9 } as const;
    expect(resolved({ schedule: "cosine" }, recipe).schedule.decline).toEqual({ kind: "cosine" });
    expect(resolved({}, recipe).schedule.decline).toEqual({
      ...{ kind: "step", epochs: 9, factor: 0.1 },
    });
  });
});

describe("processes", () => {
  const distributed = (flags: Recipe, environment = {}) =>
    resolved(flags, {}, environment).distributed;

  it("count as in the references", () => {
    expect(distributed({ "world-size": 1, rank: 0 })).toBeNull();
    expect(distributed({ nproc: 2 })).toEqual({
      ...{ worldSize: 1, rank: 0, nproc: 2, url: null, backend: null },
      ...{ localSize: 1, localRank: 0, timeoutSeconds: 180 },
    });
    const url = "tcp://127.0.0.1:23333";
    const flags = { "dist-url": url, "world-size": 1, rank: 0, "dist-backend": "nccl" } as const;
    expect(distributed({ ...flags, "multiprocessing-distributed": true })).toEqual({
      ...{ worldSize: 1, rank: 0, nproc: null, url, backend: "nccl" },
      ...{ localSize: 1, localRank: 0, timeoutSeconds: 180 },
    });
    expect(distributed({ "world-size": 4, rank: 3, "dist-url": url })).toMatchObject({
      ...{ worldSize: 4, rank: 3, nproc: 1, url },
    });
  });

  it("may come from the environment", () => {
    const flags = { "dist-url": "env://" };
    const where = { MASTER_ADDR: "10.0.0.1", MASTER_PORT: "2345" };
    expect(distributed(flags, { ...where, WORLD_SIZE: "2", RANK: "1" })).toMatchObject({
      ...{ worldSize: 2, rank: 1, nproc: 1, url: "tcp://10.0.0.1:2345" },
    });
    const local = { LOCAL_WORLD_SIZE: "2", LOCAL_RANK: "1" };
    const several = { ...where, ...local, WORLD_SIZE: "4", RANK: "3" };
    expect(distributed(flags, several)).toMatchObject({
      ...{ worldSize: 4, rank: 3, nproc: 1, localSize: 2, localRank: 1 },
    });
    // Where this command starts the processes, it counts them.
    expect(distributed({ ...flags, nproc: 4 }, several)).toMatchObject({
      ...{ worldSize: 4, rank: 3, nproc: 4, localSize: 1, localRank: 0 },
    });
    expect(() => distributed(flags, { ...several, LOCAL_WORLD_SIZE: "3" })).toThrow(
      "LOCAL_WORLD_SIZE 3 in the environment: expected as many on each node, and WORLD_SIZE is 4",
    );
    expect(() => distributed({ ...flags, "batch-size": 7 }, several)).toThrow(
      "--batch-size 7: expected a multiple of this node's processes, LOCAL_WORLD_SIZE 2",
    );
    expect(distributed(flags, { ...where, WORLD_SIZE: "1", RANK: "0" })).toBeNull();
    expect(
      distributed(flags, { ...where, MASTER_ADDR: "::1", WORLD_SIZE: "2", RANK: "0" }),
    ).toMatchObject({ url: "tcp://[::1]:2345" });
    expect(() => distributed(flags, { ...where, WORLD_SIZE: "two", RANK: "1" })).toThrow(
      'WORLD_SIZE in the environment: expected a whole number from 1 to 65536; received "two"',
    );
    expect(() => distributed(flags, { WORLD_SIZE: "2", RANK: "1" })).toThrow("set MASTER_ADDR and");
  });

  it.each<[Recipe, string]>([
    [{ "world-size": 2 }, "--world-size 2: add this node's --rank"],
    [{ "world-size": 2, rank: 2 }, "--rank 2: expected less than --world-size 2"],
    [{ "world-size": 2, rank: 1 }, "--world-size 2: add --dist-url tcp://HOST:PORT, rank 0's"],
    [{ gpu: 0, nproc: 2 }, "--gpu 0 and --nproc 2: leave out --gpu or --nproc"],
  ])("refuses %j", (flags, message) => {
    expect(() => distributed(flags)).toThrow(message);
  });
});

describe("trainingOptions", () => {
  it("gives the custom L2 half the decay that it replaces", () => {
    const flags = { arch: "RepVGG-A0", custwd: true, "weight-decay": 2e-4, "clip-norm": 5 };
    const options = trainingOptions(resolved(flags));
    expect(options).toMatchObject({ nesterov: true, penaltyWeight: 1e-4, clipNorm: 5 });
    expect(options).not.toHaveProperty("emaDecay");
    const shape = [4, 4, 3, 3];
    const of = (name: string) => options.settings?.({ name, shape } as never).weightDecay;
    expect(of("stage1.0.rbr_dense.conv.weight")).toBe(0);
    expect(of("linear.weight")).toBe(2e-4);
    expect(trainingOptions(resolved({ arch: "RepVGG-A0" })).penaltyWeight).toBe(0);
  });
});

/** Another value for each setting, and what it needs beside it. */
const CHANGES: { readonly [K in SettingName]: readonly [Recipe[K], Recipe?] } = {
  arch: ["ResNet-50"],
  blocktype: ["DBB"],
  "num-classes": [7],
  "img-size": [64],
  data: ["elsewhere"],
  workers: [99],
  "batch-size": [8],
  "val-batch-size": [8],
  "val-resize": [300],
  "on-bad-image": ["skip"],
  lenient: [true],
  "exif-orientation": [true],
  resize: ["lanczos3"],
  aug: ["weak"],
  "color-jitter": [{ hue: 0.2 }],
  lighting: [0.2],
  "rand-augment": ["rand-m9"],
  erasing: [0.1],
  "erasing-mode": ["const", { erasing: 0.1 }],
  mixup: [0.1],
  cutmix: [0.1],
  "mix-probability": [0.2, { mixup: 0.1 }],
  "mix-switch-probability": [0.2, { mixup: 0.1, cutmix: 0.1 }],
  epochs: [7],
  "start-epoch": [7],
  "max-steps": [7],
  lr: [0.7],
  schedule: ["constant"],
  "step-epochs": [7, { schedule: "step" }],
  "step-factor": [0.7, { schedule: "step" }],
  "warmup-epochs": [7],
  "warmup-iterations": [7],
  "warmup-form": ["timm", { "warmup-epochs": 7 }],
  momentum: [0.7],
  nesterov: [true],
  "weight-decay": [0.7],
  "decay-rule": ["all"],
  custwd: [true],
  "label-smoothing": [0.7],
  "aux-weight": [0.7],
  "clip-norm": [0.7],
  "ema-decay": [0.7],
  pretrained: ["a.pth"],
  "insert-bn": [true, { pretrained: "a.pth" }],
  engine: ["torch"],
  device: ["cuda"],
  gpu: [7],
  precision: ["bf16"],
  threads: [7],
  deterministic: [true],
  seed: [7],
  "world-size": [2, { nproc: 2, rank: 0, "dist-url": "tcp://a:1" }],
  rank: [1, { "world-size": 3, "dist-url": "tcp://a:1", nproc: 1 }],
  "dist-url": ["tcp://a:1", { nproc: 2 }],
  "dist-backend": ["gloo", { nproc: 2 }],
  "dist-timeout": [7, { nproc: 2 }],
  "multiprocessing-distributed": [true],
  nproc: [2],
  out: ["there"],
  tag: ["there"],
  "print-freq": [7],
  "save-every-steps": [7],
  keep: [7],
};

it.each(Object.entries(CHANGES))("%s reaches the configuration", (name, [value, needs = {}]) => {
  const base: Recipe = name === "rank" ? { ...needs, rank: 0 } : needs;
  const before = resolved(base);
  const after = resolved({ ...base, [name]: value });
  expect(after).not.toEqual(before);
});

it("names every setting above", () => {
  expect(Object.keys(CHANGES)).toEqual(Object.keys(SETTINGS));
});
