/** What `repkit test` and `repkit predict` have in common: which model, and what runs it. */
import { availableParallelism } from "node:os";

import type { Device, Engine, LoadOptions, Precision } from "../../engine/types.js";
import type { ModelChoice } from "../../evaluate/index.js";
import { printable } from "../../util/printable.js";
import type { CommonOptions } from "../options.js";

export interface EvaluationOptions extends CommonOptions {
  readonly arch?: string;
  readonly blocktype?: string;
  readonly numClasses?: number;
  readonly root?: string;
  readonly imgSize?: number;
  readonly valResize?: number;
  readonly lenient?: true;
}

/** `onNote`: called with one line where it is not the engine that was preferred. */
export type ChooseEngine = (name: string, onNote?: (note: string) => void) => Promise<Engine>;

export const chooseInstalled: ChooseEngine = async (name, onNote) => {
  const { chooseEngine } = await import("../../engine/index.js");
  return chooseEngine(name, { onNote });
};

export function modelChoice(weights: string, options: EvaluationOptions): ModelChoice {
  const { arch, blocktype: block, numClasses, root, imgSize, valResize } = options;
  return { weights, arch, block, numClasses, root, imageSize: imgSize, resize: valResize };
}

export function loadOptions({ device, precision, threads }: CommonOptions): LoadOptions {
  return {
    ...(device === undefined ? {} : { device: device as Device }),
    precision: precision as Precision,
    threads: threads ?? availableParallelism(),
  };
}

/** Writes a line on stderr, unless the user wants silence. */
export function remark(options: CommonOptions, text: string): void {
  if (options.quiet === true) return;
  process.stderr.write(`${printable(text)}\n`);
}
