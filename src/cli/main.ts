/**
 * The command line: what commands and flags there are. Each command's work is in a file of its own
 * under commands/, imported when the command runs, so that `--help` loads nothing else.
 */
import { readFileSync } from "node:fs";

import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";

import { EXIT_CODES, RepkitError, usageError } from "../errors.js";
import { nearestOf } from "../util/suggest.js";
import type { CommonOptions } from "./options.js";

const ENGINES = ["auto", "torch", "tfjs", "tfjs:node-gpu", "tfjs:node", "tfjs:wasm", "tfjs:cpu"];
const PRECISIONS = ["fp32", "tf32", "bf16", "fp64"];
const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

/** Runs one command line (without node and script). Returns the exit code of docs/cli.md. */
export async function main(argv: readonly string[]): Promise<number> {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // The reader of a pipe (`| head`) may leave early; that is no failure.
    if (error.code !== "EPIPE") throw error;
  });
  stopOnSignals();
  try {
    await program().parseAsync([...argv], { from: "user" });
    return 0;
  } catch (error) {
    return report(error);
  }
}

/**
 * A signal ends the process with the code that a shell would report. Listeners run between two turns
 * of the event loop and a file is written in one, so none is left half done, nor a temporary one.
 */
function stopOnSignals(): void {
  process.once("SIGINT", () => process.exit(130));
  process.once("SIGTERM", () => process.exit(143));
}

/** The command tree, also what docs/cli.md is printed from. */
export function program(): Command {
  const root = new Command("repkit")
    .description(
      "Train, convert and verify re-parameterization ConvNets: many branches while training, one convolution when deployed.",
    )
    .version(packageVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand("help [command]", "show help for a command")
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(oneLine(text)) });

  command(root, "list", "architectures, blocks, valid pairs, and what they cost", [
    "repkit list",
    "repkit list --json | jq '.pairs[] | select(.params_deploy < 1e7)'",
  ]).action(async (options: CommonOptions) => {
    const { list } = await import("./commands/list.js");
    list(options);
  });

  command(root, "info", "what a model consists of, or what a checkpoint is", [
    "repkit info -a ResNet-18 -t DBB",
    "repkit info -a RepVGG-B3 -t RepVGG --deploy",
    "repkit info -a MobileNet -t ACB --num-classes 10 --img-size 96 --json",
    "repkit info RepVGG-A0-train.pth",
    "repkit info runs/ResNet-18_DBB/best.ckpt --json",
  ])
    .argument("[file]", "a checkpoint in any container; nothing in it is executed")
    .option("-a, --arch <name>", "architecture (see repkit list); with a file: what it should be")
    .option("-t, --blocktype <name>", "block (default: the architecture's own)")
    .option("--deploy", "the deployed structure instead of the training structure")
    .option("--num-classes <n>", "number of classes (default: 1000)", number)
    .option("--img-size <pixels>", "height and width of the images (default: 224)", number)
    .option("--graph", "print the graph instead of the table")
    .option("--tensors", "with a file: list every tensor")
    .action(async (file: string | undefined, options: InfoFlags) => {
      checkInfoFlags(file, options);
      if (file !== undefined) {
        const { infoFile } = await import("./commands/info-file.js");
        infoFile(file, options);
      } else {
        const { info } = await import("./commands/info.js");
        info({ numClasses: 1000, imgSize: 224, ...options } as Parameters<typeof info>[0]);
      }
    });
  command(root, "convert", "training structure to deployed structure, or another container", [
    "repkit convert in.ckpt out.ckpt",
    "repkit convert RepVGG-B2-train.pth RepVGG-B2-deploy.pth -a RepVGG-B2",
    "repkit convert old.pth.tar new.safetensors --keep-structure",
  ])
    .argument("<in>", "checkpoint: .ckpt, .safetensors, .pth, .pt, .pth.tar")
    .argument("<out>", "where to write; the extension says which container")
    .option("-a, --arch <name>", "architecture (default: what the checkpoint is)")
    .option("-t, --blocktype <name>", "block (default: what the checkpoint is)")
    .option("--num-classes <n>", "number of classes (default: what the checkpoint has)", number)
    .option("--img-size <pixels>", "image size to note in the output", number)
    .option("--root <key>", "take the weights from this entry, where a file holds several")
    .option("--keep-structure", "change the container only")
    .option("--no-verify", "do not run the model before and after; noted in the output")
    .action(async (input: string, output: string, options) => {
      const { convertCommand } = await import("./commands/convert.js");
      await convertCommand(input, output, options as Parameters<typeof convertCommand>[2]);
    });
  command(root, "doctor", "what can run here, what is missing, and the command that mends it", [
    "repkit doctor",
    "repkit doctor --json | jq '.engines[] | {name, ok, problems}'",
  ]).action(async (options: CommonOptions) => {
    const { doctor } = await import("./commands/doctor.js");
    await doctor(options);
  });
  command(root, "build", "compile an engine for this machine", [
    "repkit build torch",
    "repkit build torch --libtorch ~/libtorch --clean",
    "REPKIT_LIBTORCH=~/libtorch repkit build torch --force",
  ])
    .addArgument(new Argument("<engine>", "torch").argParser(oneOf(["torch"])))
    .option("--libtorch <folder>", "compile against this libtorch (default: the first one found)")
    .option("--force", "compile again what is compiled already")
    .option("--clean", "afterwards, remove every other build from the cache")
    .action(async (_engine: string, options) => {
      const { buildCommand } = await import("./commands/build.js");
      await buildCommand(options as Parameters<typeof buildCommand>[0]);
    });
  command(root, "bench", "how fast models run here, and where the time goes", [
    "repkit bench step -a ResNet-18 -t DBB -b 8 --json > step.json",
    "repkit bench step -a RepVGG-A0 --precision bf16 --threads 4 --profile > where.txt",
    "repkit bench forward -a ResNet-50 -t DBB --deploy --steps 50 --json > forward.json",
  ])
    .addArgument(
      new Argument("<what>", "step: a training step; forward: inference").argParser(
        oneOf(["step", "forward"]),
      ),
    )
    .requiredOption("-a, --arch <name>", "architecture (see repkit list)")
    .option("-t, --blocktype <name>", "block (default: the architecture's own)")
    .option("--deploy", "the deployed structure instead of the training structure")
    .option("-b, --batch-size <n>", "images in a batch", positiveNumber, 8)
    .option("--img-size <pixels>", "height and width of the images", positiveNumber, 224)
    .option("--num-classes <n>", "number of classes", positiveNumber, 1000)
    .option("--steps <n>", "runs that count; their median is the result", positiveNumber, 10)
    .option("--warmup <n>", "runs before them that do not count", countingNumber, 2)
    .option("--profile", "where the time goes, by kind of operation, where the engine can say")
    .action(async (work: "step" | "forward", options) => {
      const { benchCommand } = await import("./commands/bench.js");
      await benchCommand(work, options as Parameters<typeof benchCommand>[1]);
    });
  return root;
}

function command(root: Command, name: string, summary: string, examples: string[]): Command {
  return root
    .command(name)
    .description(summary)
    .addHelpText("after", `\nExamples:\n${examples.map((line) => `  $ ${line}`).join("\n")}`)
    .addOption(new Option("--json", "print one JSON document"))
    .addOption(choice("--engine <name>", "what runs the model", ENGINES).default("auto"))
    .addOption(new Option("--device <name>", "cpu, cuda or cuda:N").argParser(device))
    .addOption(choice("--precision <name>", "arithmetic", PRECISIONS).default("fp32"))
    .addOption(new Option("--threads <n>", "CPU threads").argParser(positiveNumber))
    .addOption(new Option("--seed <n>", "seed of all randomness").argParser(wholeNumber).default(0))
    .addOption(choice("--log-level <level>", "log detail", LOG_LEVELS).default("info"))
    .addOption(new Option("--quiet", "no progress and no remarks"));
}

/** An option whose value is one of a few names; another name is answered with the nearest. */
function choice(flags: string, description: string, names: readonly string[]): Option {
  return new Option(flags, description).choices(names).argParser(oneOf(names));
}

function oneOf(names: readonly string[]): (text: string) => string {
  return (text) => {
    if (!names.includes(text)) throw new InvalidArgumentError(nearestOf(text, names));
    return text;
  };
}

/** What `info` is given: of a model, of a file, or both. */
interface InfoFlags extends CommonOptions {
  readonly arch?: string;
  readonly blocktype?: string;
  readonly deploy?: true;
  readonly numClasses?: number;
  readonly imgSize?: number;
  readonly graph?: true;
  readonly tensors?: true;
}

function checkInfoFlags(file: string | undefined, { arch, ...flags }: InfoFlags): void {
  if (file === undefined && arch === undefined) {
    throw usageError("info: expected a FILE or an architecture (-a), received neither");
  }
  const strangers = file === undefined ? ["tensors"] : ["graph", "imgSize"];
  const stranger = strangers.find((name) => name in flags);
  if (stranger === undefined) return;
  const flag = stranger === "imgSize" ? "--img-size" : `--${stranger}`;
  throw usageError(`info: ${flag} does not go ${file === undefined ? "without" : "with"} a FILE`);
}

/** A number as people write it; which numbers make sense is for the command to say. */
function number(text: string): number {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    throw new InvalidArgumentError("expected a number");
  }
  return Number(text);
}

function wholeNumber(text: string): number {
  const value = number(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError("expected a whole number");
  return value;
}

function positiveNumber(text: string): number {
  return wholeNumberFrom(1, text);
}

function countingNumber(text: string): number {
  return wholeNumberFrom(0, text);
}

function wholeNumberFrom(least: number, text: string): number {
  const value = wholeNumber(text);
  if (value < least) throw new InvalidArgumentError(`expected a whole number from ${least}`);
  return value;
}

function device(text: string): string {
  if (!/^(cpu|cuda(:\d{1,3})?)$/.test(text)) {
    throw new InvalidArgumentError("expected cpu, cuda or cuda:N");
  }
  return text;
}

/** Says what went wrong in one line on stderr, and returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has printed its message already; --help and --version "fail" with 0.
    return error.exitCode === 0 ? 0 : EXIT_CODES.usage;
  }
  if (error instanceof RepkitError) {
    process.stderr.write(oneLine(`error: ${error.message}`));
    return error.exitCode;
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`internal error: ${message}\n`);
  return EXIT_CODES.internal;
}

function oneLine(text: string): string {
  return `${text.trim().replace(/\s*\n\s*/g, " ")}\n`;
}

function packageVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
