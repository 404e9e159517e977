/** `repkit convert IN OUT`: checks what is asked, converts with a progress bar, and says what was done. */
import { convert, type Conversion } from "../../convert/index.js";
import type { CommonOptions } from "../options.js";
import { progressBar } from "../progress.js";
import { formatBytes, formatCount } from "../table.js";

export interface ConvertCommandOptions extends CommonOptions {
  readonly arch?: string;
  readonly blocktype?: string;
  readonly numClasses?: number;
  readonly imgSize?: number;
  readonly root?: string;
  readonly keepStructure?: true;
  readonly verify: boolean;
}

export async function convertCommand(
  input: string,
  output: string,
  options: ConvertCommandOptions,
): Promise<void> {
  const started = performance.now();
  const bar = await progressBar("folding", options);
  let conversion: Conversion;
  try {
    conversion = await convert({
      input,
      output,
      ...(options.arch === undefined ? {} : { arch: options.arch }),
      ...(options.blocktype === undefined ? {} : { block: options.blocktype }),
      ...(options.numClasses === undefined ? {} : { numClasses: options.numClasses }),
      imageSize: options.imgSize,
      root: options.root,
      keepStructure: options.keepStructure === true,
      verify: options.verify,
      threads: options.threads,
      onProgress: bar.update,
    });
  } finally {
    bar.stop();
  }
  const seconds = (performance.now() - started) / 1000;
  if (options.quiet !== true) {
    for (const note of conversion.notes) process.stderr.write(`note: ${note}\n`);
  }
  process.stdout.write(
    options.json === true ? asJson(conversion, seconds) : asText(conversion, seconds),
  );
}

function asJson(conversion: Conversion, seconds: number): string {
  const { input, output, arch, block, numClasses, structure, before, after } = conversion;
  const { folded, verification, notes, bytes } = conversion;
  const document = {
    ...{ input, output, arch, block, mode: structure, classes: numClasses },
    ...{ params_before: before.params, params_after: after.params },
    ...{ macs_before: before.macs, macs_after: after.macs },
    ...{ folded, verified: verification ?? null, notes, bytes, seconds },
  };
  return `${JSON.stringify(document)}\n`;
}

function asText(conversion: Conversion, seconds: number): string {
  const { output, arch, block, structure, before, after, folded, verification, bytes } = conversion;
  const lines = [
    `${arch} x ${block}, ${structure} structure`,
    ...(folded === 0
      ? []
      : [
          `  ${folded} convolutions folded`,
          `  parameters    ${formatCount(before.params)} -> ${formatCount(after.params)}`,
          `  multiply-adds ${formatCount(before.macs)} -> ${formatCount(after.macs)}`,
        ]),
    ...(folded > 0 ? verificationLines(verification) : []),
    `  ${output}: ${formatBytes(bytes)} in ${seconds.toFixed(2)} s`,
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function verificationLines(verification: Conversion["verification"]): readonly string[] {
  if (verification === undefined) return ["  not verified"];
  const { worst, worst_diff, tolerance, logits_diff, logits_tolerance } = verification;
  const share = (value: number) => value.toExponential(1);
  return [
    `  verified: outputs of the folded convolutions differ by ${share(worst_diff)} of the largest ` +
      `value (allowed ${share(tolerance)}), most in ${worst}`,
    `            logits by ${share(logits_diff)} (allowed ${share(logits_tolerance)})`,
  ];
}
