/**
 * The settings of a training run by the names that people write: a recipe's keys are the long names of
 * the flags of `repkit train`, and each value is held against the same schema wherever it comes from.
 */
import { z } from "zod";

import type { ErasingMode } from "../data/augment/options.js";
import { parseRandAugment } from "../data/augment/rand-augment.js";
import type { ResizeKernel } from "../data/sharp.js";
import type { Precision } from "../engine/types.js";
import { RepkitError } from "../errors.js";
import { nearestOf, unknownName } from "../util/suggest.js";
import { MAX_CLASSES, MAX_IMAGE_SIZE } from "../zoo/index.js";
import { DECAY_RULES } from "./param-groups.js";

const PRECISIONS = ["fp32", "tf32", "bf16", "fp64"] as const satisfies readonly Precision[];
const ERASING_MODES = ["const", "rand", "pixel"] as const satisfies readonly ErasingMode[];
const RESIZES = [
  ...(["pil", "nearest", "linear", "cubic", "mitchell", "lanczos2", "lanczos3"] as const),
] satisfies readonly ("pil" | ResizeKernel)[];

/** Beyond any use; keeps products of counts exact. */
const MAX_COUNT = 1e9;

const text = z
  .string(expecting("text"))
  .min(1, expecting("text"))
  .max(4096, expecting("at most 4096 characters"));
const flag = z.boolean(expecting("true or false"));
const count = whole(0, MAX_COUNT);
const positiveCount = whole(1, MAX_COUNT);
const share = between(0, 1);
const fractionBelow1 = number(
  "a number from 0 up to, but not including, 1",
  (x) => x >= 0 && x < 1,
);
const atLeast0 = number("a number from 0", (x) => x >= 0);
const above0 = number("a number above 0", (x) => x > 0);

const colorJitter = z.strictObject(
  {
    brightness: atLeast0.optional(),
    contrast: atLeast0.optional(),
    saturation: atLeast0.optional(),
    hue: between(0, 0.5).optional(),
  },
  expecting("brightness, contrast, saturation and hue, each with a number"),
);

export const SETTINGS = {
  arch: text,
  blocktype: text,
  "num-classes": whole(1, MAX_CLASSES),
  "img-size": whole(1, MAX_IMAGE_SIZE),

  data: text,
  workers: whole(0, 1024),
  "batch-size": positiveCount,
  "val-batch-size": positiveCount,
  "val-resize": whole(1, MAX_IMAGE_SIZE * 2),
  "on-bad-image": oneOf(["skip", "fail"]),
  lenient: flag,
  "exif-orientation": flag,
  resize: oneOf(RESIZES),
  aug: oneOf(["weak", "strong"]),
  "color-jitter": colorJitter,
  lighting: atLeast0,
  "rand-augment": text.superRefine(checkRandAugment),
  erasing: share,
  "erasing-mode": oneOf(ERASING_MODES),
  mixup: atLeast0,
  cutmix: atLeast0,
  "mix-probability": share,
  "mix-switch-probability": share,

  epochs: positiveCount,
  "start-epoch": count,
  "max-steps": positiveCount,

  lr: above0,
  schedule: oneOf(["cosine", "step", "constant"]),
  "step-epochs": above0,
  "step-factor": above0,
  "warmup-epochs": atLeast0,
  "warmup-iterations": atLeast0,
  "warmup-form": oneOf(["linear", "orepa", "timm"]),
  momentum: fractionBelow1,
  nesterov: flag,
  "weight-decay": atLeast0,
  "decay-rule": oneOf(DECAY_RULES),
  custwd: flag,
  "label-smoothing": fractionBelow1,
  "aux-weight": atLeast0,
  "clip-norm": atLeast0,
  "ema-decay": fractionBelow1,

  pretrained: text,
  "insert-bn": flag,

  engine: text,
  device: matching(/^(cpu|cuda(:\d{1,3})?)$/, "cpu, cuda or cuda:N"),
  gpu: whole(0, 999),
  precision: oneOf(PRECISIONS),
  threads: whole(1, 4096),
  deterministic: flag,
  seed: whole(0, Number.MAX_SAFE_INTEGER),

  "world-size": whole(1, 65_536),
  rank: whole(0, 65_535),
  "dist-url": matching(
    /^(env:\/\/|tcp:\/\/([\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5})$/,
    "tcp://HOST:PORT or env://",
  ),
  "dist-backend": oneOf(["gloo", "nccl"]),
  "dist-timeout": whole(1, 86_400),
  "multiprocessing-distributed": flag,
  nproc: whole(1, 1024),

  out: text,
  tag: matching(/^[\w.+-]{1,64}$/, "up to 64 letters, digits, and . _ + -"),
  "print-freq": positiveCount,
  "save-every-steps": count,
  keep: count,
} as const;

export type SettingName = keyof typeof SETTINGS;

/** Some of the settings: what a recipe or a command line says. */
export type Recipe = { readonly [K in SettingName]?: z.output<(typeof SETTINGS)[K]> };

/** What is wrong with a value: one problem for each thing to mend. */
export interface Problem {
  readonly message: string;
  /** Keys from the outermost; empty for the whole. */
  readonly path: readonly PropertyKey[];
}

/** The values of a setting that is one of a few names; none for any other name. */
export function settingChoices(name: string): readonly string[] {
  const schema: unknown = Object.entries(SETTINGS).find(([key]) => key === name)?.[1];
  return schema instanceof z.ZodEnum ? schema.options.map(String) : [];
}

const NAMES = Object.keys(SETTINGS) as readonly SettingName[];
const recipeSchema = z
  .strictObject(SETTINGS, expecting("settings, a name and a value each"))
  .partial();

/** Other spellings of flags, and of this idea elsewhere; only suggested. */
const OTHER_NAMES: Readonly<Record<string, SettingName>> = {
  "learning-rate": "lr",
  wd: "weight-decay",
  block: "blocktype",
  warmup: "warmup-epochs",
  randaug: "rand-augment",
  clip: "clip-norm",
  ema: "ema-decay",
};

/** Checks everything and finds all problems, not just the first. */
export function checkRecipe(value: unknown): { recipe: Recipe } | { problems: readonly Problem[] } {
  const result = recipeSchema.safeParse(value);
  if (result.success) return { recipe: result.data as Recipe };
  return { problems: result.error.issues.flatMap(problemsOf) };
}

/** The problem with one setting's value, or undefined. */
export function problemWith(name: SettingName, value: unknown): string | undefined {
  return SETTINGS[name].safeParse(value).error?.issues[0]?.message;
}

export function isSetting(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name);
}

export function isNumber(name: SettingName): boolean {
  return SETTINGS[name] instanceof z.ZodNumber;
}

function problemsOf(issue: z.core.$ZodIssue): Problem[] {
  if (issue.code !== "unrecognized_keys") return [{ message: issue.message, path: issue.path }];
  return issue.keys.map((key) => ({
    message: unknownKey(key, issue.path.length === 0 ? NAMES : Object.keys(colorJitter.shape)),
    path: [...issue.path, key],
  }));
}

function unknownKey(key: string, names: readonly string[]): string {
  const other = Object.hasOwn(OTHER_NAMES, key) ? OTHER_NAMES[key] : undefined;
  const near = other === undefined ? nearestOf(key, names) : `did you mean "${other}"?`;
  return `unknown key; ${near}`;
}

function checkRandAugment(spec: string, context: z.RefinementCtx): void {
  try {
    parseRandAugment(spec);
  } catch (error) {
    if (!(error instanceof RepkitError)) throw error;
    context.addIssue({ code: "custom", message: error.message });
  }
}

function number(expected: string, accepts: (value: number) => boolean): z.ZodNumber {
  return z.number(expecting(expected)).refine(accepts, expecting(expected));
}

function between(least: number, most: number): z.ZodNumber {
  return number(`a number from ${least} to ${most}`, (x) => x >= least && x <= most);
}

function whole(least: number, most: number): z.ZodNumber {
  const expected = `a whole number from ${least}${most >= MAX_COUNT ? "" : ` to ${most}`}`;
  return number(expected, (x) => Number.isSafeInteger(x) && x >= least && x <= most);
}

function matching(pattern: RegExp, expected: string): z.ZodString {
  return z.string(expecting(expected)).regex(pattern, expecting(expected));
}

function oneOf<const T extends readonly string[]>(names: T) {
  return z.enum(names, {
    error: ({ input }) =>
      typeof input === "string"
        ? unknownName("value", shortened(input), names)
        : `expected ${names.join(", ")}; received ${shown(input)}`,
  });
}

function expecting(expected: string): { error: (issue: { readonly input?: unknown }) => string } {
  return { error: ({ input }) => `expected ${expected}; received ${shown(input)}` };
}

function shown(value: unknown): string {
  if (typeof value === "string") return `"${shortened(value)}"`;
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" && value !== null ? "a mapping" : String(value);
}

function shortened(value: string): string {
  return value.length <= 60 ? value : `${value.slice(0, 57)}...`;
}
