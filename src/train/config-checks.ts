/** What settings say to each other: contradictions, and values that would have no effect. */
import { usageError } from "../errors.js";
import type { TrainConfig } from "./config.js";
import type { Settings } from "./defaults.js";
import type { Recipe, SettingName } from "./recipe-schema.js";

/** Settings that one recipe, or one command line, cannot have both. */
const EITHER_OR: readonly (readonly [SettingName, SettingName])[] = [
  ["warmup-epochs", "warmup-iterations"],
  ["gpu", "device"],
  ["gpu", "multiprocessing-distributed"],
  ["gpu", "nproc"],
];

export function checkAgreement(source: Recipe): void {
  const pair = EITHER_OR.find((names) => names.every((name) => isGiven(source, name)));
  if (pair === undefined) return;
  const [first, second] = pair;
  const values = pair.map((name) => spelled(source, name));
  throw usageError(`${values.join(" and ")}: leave out --${first} or --${second}`);
}

interface Need {
  readonly settings: readonly SettingName[];
  readonly isMet: (s: Settings) => boolean;
  readonly need: string;
}

const NEEDS: readonly Need[] = [
  {
    settings: ["step-epochs", "step-factor"],
    isMet: (s) => s.schedule === "step",
    need: "--schedule step",
  },
  {
    settings: ["warmup-form"],
    isMet: (s) => (s["warmup-iterations"] ?? s["warmup-epochs"]) > 0,
    need: "--warmup-epochs or --warmup-iterations",
  },
  { settings: ["erasing-mode"], isMet: (s) => s.erasing > 0, need: "--erasing" },
  {
    settings: ["mix-probability"],
    isMet: (s) => s.mixup > 0 || s.cutmix > 0,
    need: "--mixup or --cutmix",
  },
  {
    settings: ["mix-switch-probability"],
    isMet: (s) => s.mixup > 0 && s.cutmix > 0,
    need: "--mixup and --cutmix",
  },
  {
    settings: ["rank", "dist-url", "dist-backend", "dist-timeout"],
    isMet: (s) =>
      s["dist-url"] === "env://" ||
      s["multiprocessing-distributed"] ||
      (s["world-size"] ?? s.nproc) !== undefined,
    need: "--world-size, --nproc or --multiprocessing-distributed",
  },
];

/** Of the settings that `source` has, each must do something among the others, which are in `all`. */
export function checkEffect(source: Recipe, all: Settings): void {
  for (const { settings, isMet, need } of NEEDS) {
    const idle = settings.find((name) => isGiven(source, name));
    if (idle !== undefined && !isMet(all)) {
      throw usageError(`${spelled(source, idle)}: has no effect without ${need}`);
    }
  }
}

export function checkConfig(config: TrainConfig): void {
  const { epochs, startEpoch, imgSize, valResize, momentum, batchSize, distributed } = config;
  const { warmup } = config.schedule;
  if (startEpoch >= epochs) {
    throw usageError(`--start-epoch ${startEpoch}: expected fewer than --epochs ${epochs}`);
  }
  if (warmup?.unit === "epochs" && warmup.length >= epochs) {
    throw usageError(`--warmup-epochs ${warmup.length}: expected fewer than --epochs ${epochs}`);
  }
  if (valResize < imgSize) {
    throw usageError(`--val-resize ${valResize}: expected at least --img-size ${imgSize}`);
  }
  if (config.nesterov && momentum === 0) {
    throw usageError("--nesterov: needs a momentum; set --momentum above 0, or --no-nesterov");
  }
  if (config.insertBn && config.pretrained === null) {
    throw usageError("--insert-bn: needs converted weights to start from; add --pretrained");
  }
  const { nproc, localSize = 1 } = distributed ?? {};
  if (batchSize % (nproc ?? 1) !== 0) {
    throw usageError(`--batch-size ${batchSize}: expected a multiple of --nproc ${nproc}`);
  }
  if (batchSize % localSize !== 0) {
    throw usageError(
      `--batch-size ${batchSize}: expected a multiple of this node's processes, LOCAL_WORLD_SIZE ${localSize}`,
    );
  }
  if (distributed?.backend === "nccl" && config.device === "cpu") {
    throw usageError("--dist-backend nccl: needs GPUs; with --device cpu use gloo");
  }
}

function isGiven(source: Recipe, name: SettingName): boolean {
  return source[name] !== undefined && source[name] !== false;
}

function spelled(source: Recipe, name: SettingName): string {
  const value = source[name];
  if (value === true) return `--${name}`;
  return `--${name} ${typeof value === "object" ? JSON.stringify(value) : value}`;
}
