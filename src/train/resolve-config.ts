/**
 * From what was said to every setting of a run. Flags win over the environment, that over the recipe,
 * that over what the model's reference repository does, and that over the general defaults.
 */
import { AUGMENTATIONS, type AugmentOptions } from "../data/augment/options.js";
import type { Device } from "../engine/types.js";
import { usageError } from "../errors.js";
import { architecture } from "../zoo/index.js";
import { checkAgreement, checkConfig, checkEffect } from "./config-checks.js";
import type { ScheduleConfig, TrainConfig } from "./config.js";
import { DEFAULTS, referenceDefaults, type Settings } from "./defaults.js";
import { distributedConfig } from "./distributed/config.js";
import type { Recipe, SettingName } from "./recipe-schema.js";

export interface Sources {
  readonly recipe?: Recipe;
  readonly flags?: Recipe;
  /** REPKIT_DATA; with `dist-url` env:// also what starters of processes set. Default: empty. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** Throws exit-code-2 errors for what is missing, contradictory or without effect. */
export function resolveConfig({ recipe = {}, flags = {}, environment = {} }: Sources): TrainConfig {
  for (const source of [recipe, flags]) checkAgreement(source);
  const { REPKIT_DATA } = environment;
  const given = [recipe, REPKIT_DATA ? { data: REPKIT_DATA } : {}, flags].reduce(over);
  if (given.arch === undefined) {
    throw usageError("train: expected an architecture (-a, or arch in the recipe), received none");
  }
  const { name: arch, blocks } = architecture(given.arch);
  // A converted model with batch norms is one of plain blocks.
  const usual = given["insert-bn"] === true ? "base" : (blocks[0] ?? "base");
  const block = given.blocktype ?? usual;
  const reference = referenceDefaults(arch, block, given.epochs ?? DEFAULTS.epochs);
  const s = { ...DEFAULTS, ...over(reference, given) };
  checkEffect(recipe, { ...DEFAULTS, ...over(reference, recipe) });
  checkEffect(flags, s);
  const config: TrainConfig = {
    ...{ arch, block },
    numClasses: s["num-classes"] ?? null,
    imgSize: s["img-size"],
    ...{ data: s.data, workers: s.workers },
    batchSize: s["batch-size"],
    valBatchSize: s["val-batch-size"] ?? s["batch-size"],
    // 256 for 224, the proportion of the references.
    valResize: s["val-resize"] ?? Math.round((s["img-size"] * 256) / 224),
    onBadImage: s["on-bad-image"],
    lenient: s.lenient,
    exifOrientation: s["exif-orientation"],
    resize: s.resize,
    augment: augmentation(s),
    mixing:
      s.mixup === 0 && s.cutmix === 0
        ? null
        : {
            ...{ mixup: s.mixup, cutmix: s.cutmix },
            probability: s["mix-probability"],
            switchProbability: s["mix-switch-probability"],
          },
    ...{ epochs: s.epochs, startEpoch: s["start-epoch"], maxSteps: s["max-steps"] ?? null },
    ...{ lr: s.lr, schedule: schedule(s), momentum: s.momentum, nesterov: s.nesterov },
    weightDecay: s["weight-decay"],
    decayRule: s["decay-rule"],
    custwd: s.custwd,
    labelSmoothing: s["label-smoothing"],
    auxiliaryWeight: s["aux-weight"],
    clipNorm: s["clip-norm"] || null,
    emaDecay: s["ema-decay"] || null,
    ...{ pretrained: s.pretrained ?? null, insertBn: s["insert-bn"] },
    engine: s.engine,
    device: s.gpu === undefined ? ((s.device as Device | undefined) ?? null) : `cuda:${s.gpu}`,
    ...{ precision: s.precision, threads: s.threads ?? null },
    ...{ deterministic: s.deterministic, seed: s.seed },
    distributed: distributedConfig(s, environment),
    out: s.out ?? `runs/${arch}_${block}${s.tag === undefined ? "" : `_${s.tag}`}`,
    tag: s.tag ?? null,
    printFreq: s["print-freq"],
    saveEverySteps: s["save-every-steps"] || null,
    keep: s.keep,
  };
  checkConfig(config);
  return config;
}

function augmentation(s: Settings): AugmentOptions {
  const preset: AugmentOptions = AUGMENTATIONS[s.aug];
  const jitter = s["color-jitter"] ?? preset.colorJitter ?? {};
  const lighting = s.lighting ?? preset.lighting ?? 0;
  return {
    ...(Object.values(jitter).some((x) => x !== 0) ? { colorJitter: jitter } : {}),
    ...(lighting === 0 ? {} : { lighting }),
    ...(s["rand-augment"] === undefined ? {} : { randAugment: s["rand-augment"] }),
    ...(s.erasing === 0
      ? {}
      : { randomErasing: { probability: s.erasing, mode: s["erasing-mode"] } }),
  };
}

function schedule(s: Settings): ScheduleConfig {
  const iterations = s["warmup-iterations"];
  const length = iterations ?? s["warmup-epochs"];
  const unit = iterations === undefined ? "epochs" : "iterations";
  const decline =
    s.schedule === "step"
      ? ({ kind: "step", epochs: s["step-epochs"], factor: s["step-factor"] } as const)
      : ({ kind: s.schedule } as const);
  return { decline, warmup: length === 0 ? null : { form: s["warmup-form"], unit, length } };
}

/** What a setting takes the place of, besides itself, in sources that count less. */
const REPLACES: Readonly<Partial<Record<SettingName, readonly SettingName[]>>> = {
  aug: ["color-jitter", "lighting", "rand-augment", "erasing", "erasing-mode"],
  "warmup-epochs": ["warmup-iterations"],
  "warmup-iterations": ["warmup-epochs"],
  schedule: ["step-epochs", "step-factor"],
  gpu: ["device", "multiprocessing-distributed", "nproc"],
  device: ["gpu"],
  "multiprocessing-distributed": ["gpu"],
  nproc: ["gpu"],
};

function over<L extends Recipe, U extends Recipe>(lower: L, upper: U) {
  const names = Object.keys(upper) as SettingName[];
  const replaced = new Set(names.flatMap((name) => REPLACES[name] ?? []));
  const kept = Object.entries(lower).filter(([name]) => !replaced.has(name as SettingName));
  return { ...(Object.fromEntries(kept) as L), ...upper };
}
