/** `repkit test`: the accuracy of a checkpoint on a folder of images. */
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";

import type { Structure } from "../../blocks/index.js";
import { usageError } from "../../errors.js";
import { type EvaluationShare, testCheckpoint, type TestResult } from "../../evaluate/index.js";
import { nearestOf, suggest } from "../../util/suggest.js";
import { progressBar, scanCounter } from "../progress.js";
import {
  type ChooseEngine,
  chooseInstalled,
  type EvaluationOptions,
  loadOptions,
  modelChoice,
  remark,
} from "./evaluation-options.js";

export interface TestCommandOptions extends EvaluationOptions {
  readonly data?: string;
  readonly batchSize: number;
  readonly workers?: number;
  readonly logits?: string;
  readonly onBadImage: "skip" | "fail";
}

/** What the arguments name. */
export interface TestRequest {
  readonly data: string;
  /** Undefined: what the checkpoint is. */
  readonly structure: Structure | undefined;
  readonly weights: string;
}

export async function testCommand(
  args: readonly string[],
  options: TestCommandOptions,
  choose: ChooseEngine = chooseInstalled,
  share?: EvaluationShare,
): Promise<void> {
  const request = testRequest(args, options.data);
  const { logits, batchSize } = options;
  checkLogitsName(logits, request);
  const isFollower = share !== undefined && share.rank > 0;
  const shown = isFollower ? { ...options, quiet: true as const } : options;
  const bar = await progressBar("testing", shown);
  const scan = await scanCounter(shown);
  let result: TestResult;
  try {
    result = await testCheckpoint({
      ...modelChoice(request.weights, options),
      structure: request.structure,
      data: request.data,
      engine: () => choose(options.engine, (note) => remark(options, `note: ${note}`)),
      load: loadOptions(options),
      ...{ batchSize, logits, onBadImage: options.onBadImage },
      workers: options.workers ?? availableParallelism(),
      lenient: options.lenient === true,
      onNote: (note) => {
        scan.stop();
        remark(shown, `note: ${note}`);
      },
      onSkipped: ({ path, reason }) => {
        bar.stop();
        remark(options, `skipped: ${path}: ${reason}`);
      },
      onScan: scan.update,
      onProgress: (done, total) => {
        scan.stop();
        bar.update(done, total);
      },
      share,
    });
  } finally {
    scan.stop();
    bar.stop();
  }
  if (isFollower) return;
  process.stdout.write(options.json === true ? asJson(request, options, result) : asText(result));
}

/** [DATA] [MODE] WEIGHTS; where DATA is not among them, it is `--data` or REPKIT_DATA. */
export function testRequest(args: readonly string[], dataOption: string | undefined): TestRequest {
  const weights = args.at(-1);
  if (weights === undefined || args.length > 3) {
    const count = args.length === 0 ? "nothing" : `${args.length} arguments`;
    throw usageError(`test: expected [DATA] [MODE] WEIGHTS, received ${count}`);
  }
  const words = args.slice(0, -1);
  const [first] = words;
  const startsWithData =
    words.length === 2 || (first !== undefined && dataOption === undefined && isFolderName(first));
  const named = startsWithData ? first : undefined;
  if (named !== undefined && dataOption !== undefined && named !== dataOption) {
    throw usageError(`test: DATA is "${named}" and --data "${dataOption}"; leave out one`);
  }
  const mode = words[startsWithData ? 1 : 0];
  const structure = mode === undefined ? undefined : structureOf(mode);
  const data = named ?? dataOption ?? process.env["REPKIT_DATA"];
  if (data === undefined) {
    throw usageError("test: no folder of images; add --data DATA, or set REPKIT_DATA");
  }
  return { data, structure, weights };
}

const MODES = ["train", "deploy"] as const satisfies readonly Structure[];

/** Neither a MODE nor one that is misspelt. */
function isFolderName(word: string): boolean {
  if (MODES.some((mode) => mode === word)) return false;
  return suggest(word, MODES) === undefined || existsSync(word);
}

function structureOf(mode: string): Structure {
  const found = MODES.find((name) => name === mode);
  if (found !== undefined) return found;
  throw usageError(
    `test: expected MODE to be train or deploy, received "${mode}"; ${nearestOf(mode, MODES)}`,
  );
}

/** What is written there must not take the place of weights. */
function checkLogitsName(logits: string | undefined, { weights }: TestRequest): void {
  if (logits === undefined) return;
  if (!logits.toLowerCase().endsWith(".safetensors")) {
    throw usageError(`--logits: expected the name of a .safetensors file, received "${logits}"`);
  }
  if (resolve(logits) === resolve(weights)) {
    throw usageError(`--logits: "${logits}" holds the weights; name another file`);
  }
}

function asText({ acc1, acc5 }: TestResult): string {
  return ` * Acc@1 ${acc1.toFixed(3)} Acc@5 ${acc5.toFixed(3)}\n`;
}

function asJson(
  { weights }: TestRequest,
  { batchSize, device, precision, logits }: TestCommandOptions,
  { acc1, acc5, loss, images, seconds, model, view, engine, folder, skipped }: TestResult,
): string {
  const document = {
    ...{ acc1, acc5, loss, images, seconds, images_per_second: images / seconds },
    bad_images: skipped.map(({ path, kind, reason }) => ({ image: path, kind, reason })),
    ...{ weights, data: folder, logits: logits ?? null },
    ...{ arch: model.arch, block: model.block, mode: model.structure, classes: model.numClasses },
    ...{ img_size: view.crop, val_resize: view.resize, batch_size: batchSize },
    ...{ engine: engine.name, device: device ?? "cpu", precision },
  };
  return `${JSON.stringify(document)}\n`;
}
