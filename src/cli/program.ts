/**
 * The commands and their flags. Each command's work is in a file of its own under commands/, imported
 * when the command runs, so that `--help` loads nothing else.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

import { Command, Option } from "commander";

import { ENGINE_NAMES } from "../engine/index.js";
import { usageError } from "../errors.js";
import type { Part } from "./commands/build.js";
import type { Shell } from "./commands/completion.js";
import { trainOptions } from "./commands/train-options.js";
import type { CommonOptions } from "./options.js";
import {
  choice,
  choiceArgument,
  countingNumber,
  device,
  number,
  positiveNumber,
  wholeNumber,
} from "./parsers.js";

const PRECISIONS = ["fp32", "tf32", "bf16", "fp64"];
const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

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
  command(root, "verify", "does the deployed form compute what the trained one does?", [
    "repkit verify",
    "repkit verify -t DBB --json > verify.json",
    "repkit verify runs/ResNet-18_DBB/best.ckpt",
    "repkit verify RepVGG-A0-train.pth --against RepVGG-A0-deploy.pth",
  ])
    .argument("[weights]", "trained checkpoint; without one, every block and small networks")
    .option("-a, --arch <name>", "architecture (default: what the checkpoint is, or the quick set)")
    .option("-t, --blocktype <name>", "block (default: what the checkpoint is, or all)")
    .option("--against <file>", "hold this deployed checkpoint against the weights")
    .option(
      "--num-classes <n>",
      "number of classes (default: what the checkpoint has)",
      positiveNumber,
    )
    .option("--root <key>", "take the weights from this entry, where a file holds several")
    .option(
      "--img-size <pixels>",
      "height and width of the images (default: the checkpoint's)",
      positiveNumber,
    )
    .option(
      "-b, --batch-size <n>",
      "images that both forms are run on (default: 1)",
      positiveNumber,
    )
    .action(async (weights: string | undefined, options) => {
      const { verifyCommand } = await import("./commands/verify.js");
      await verifyCommand(weights, options as Parameters<typeof verifyCommand>[1]);
    });
  const training = command(
    root,
    "train",
    "train a model: checkpoints, metrics and a report in a folder of its own",
    [
      "repkit train ./data -a ResNet-18 -t DBB",
      "repkit train ./data --config configs/cpu-small.yaml -a ResNet-18 -t DBB --tag first",
      "repkit train ./data -a ResNet-18 -t DBB --resume auto",
      "repkit train ./data -a ResNet-18 -t DBB --pretrained old.pth --lr 0.01 --epochs 10",
    ],
  );
  trainOptions(training).action(
    async (data: string | undefined, options: CommonOptions, self: Command) => {
      const { trainCommand } = await import("./commands/train.js");
      await trainCommand(data, options, self);
    },
  );
  const testing = command(root, "test", "accuracy of a model on the validation images", [
    "repkit test ./data runs/ResNet-18_DBB/best.ckpt",
    "repkit test IMAGENET_PATH train W.pth -a ResNet-18 -t DBB",
    "repkit test deploy RepVGG-A0-deploy.pth --data ./data --json",
    "repkit test W.ckpt --data ./data --logits logits.safetensors",
  ])
    .argument("<args...>", "[DATA] [train|deploy] WEIGHTS")
    .option("--data <folder>", "instead of DATA; also REPKIT_DATA");
  evaluationOptions(testing)
    .option("-b, --batch-size <n>", "images in a batch", positiveNumber, 64)
    .option(
      "-j, --workers <n>",
      "threads that prepare images (default: one per core)",
      countingNumber,
    )
    .option("--logits <file>", "also write logits and labels to this .safetensors file")
    .addOption(
      choice("--on-bad-image <what>", "images that cannot be read", ["skip", "fail"]).default(
        "fail",
      ),
    )
    .action(async (args: string[], options) => {
      const { testCommand } = await import("./commands/test.js");
      await testCommand(args, options as Parameters<typeof testCommand>[1]);
    });
  const predicting = command(root, "predict", "what a model sees in images", [
    "repkit predict runs/ResNet-18_DBB/best.ckpt cat.jpg dog.jpg",
    "repkit predict model.ckpt photo.png --topk 3 --json",
  ])
    .argument("<weights>", "checkpoint in any container")
    .argument("<image...>", "image files; a folder stands for the images that lie in it")
    .option("--topk <n>", "how many classes", positiveNumber, 5);
  evaluationOptions(predicting).action(async (weights: string, images: string[], options) => {
    const { predictCommand } = await import("./commands/predict.js");
    await predictCommand(weights, images, options as Parameters<typeof predictCommand>[2]);
  });
  command(root, "sample-data", "draw a small data set to try everything on", [
    "repkit sample-data ./data",
    "repkit sample-data ./data --classes 4 --train 20 --val 5 --json",
  ])
    .argument("<dir>", "folder to create")
    .option("--classes <n>", "classes", positiveNumber, 10)
    .option("--train <n>", "training images of each class", positiveNumber, 60)
    .option("--val <n>", "validation images of each class", positiveNumber, 20)
    .action(async (dir: string, options) => {
      const { sampleData } = await import("./commands/sample-data.js");
      await sampleData(dir, options as Parameters<typeof sampleData>[1]);
    });
  command(root, "doctor", "what can run here, what is missing, and the command that mends it", [
    "repkit doctor",
    "repkit doctor --json | jq '.engines[] | {name, ok, problems}'",
  ]).action(async (options: CommonOptions) => {
    const { doctor } = await import("./commands/doctor.js");
    await doctor(options);
  });
  command(root, "build", "compile a native part for this machine", [
    "repkit build torch",
    "repkit build jpeg",
    "repkit build linalg",
    "repkit build tfjs-node",
    "repkit build torch --libtorch ~/libtorch --clean",
    "REPKIT_LIBTORCH=~/libtorch repkit build torch --force",
  ])
    .addArgument(
      choiceArgument(
        "<part>",
        "torch: the engine; jpeg: fast reading of JPEG files; linalg: fast conversion of large models; tfjs-node, tfjs-node-gpu: the tfjs engine on TensorFlow",
        ["torch", "jpeg", "linalg", "tfjs-node", "tfjs-node-gpu"],
      ),
    )
    .option("--libtorch <folder>", "compile against this libtorch (default: the first one found)")
    .option("--force", "compile again what is compiled already")
    .option("--clean", "afterwards, remove every other build of the part from the cache")
    .action(async (part: Part, options) => {
      const { buildCommand } = await import("./commands/build.js");
      await buildCommand(part, options as Parameters<typeof buildCommand>[1]);
    });
  command(root, "bench", "how fast models and data run here, and where the time goes", [
    "repkit bench step -a ResNet-18 -t DBB -b 8 --json > step.json",
    "repkit bench step -a RepVGG-A0 --precision bf16 --threads 4 --profile > where.txt",
    "repkit bench forward -a ResNet-50 -t DBB --deploy --steps 50 --json > forward.json",
    "repkit bench data ./data --mode train -j 4 --steps 100 --json > data.json",
    "repkit bench convert -a ResNet-50 -t DBB --steps 3 --json > convert.json",
  ])
    .addArgument(
      choiceArgument(
        "<what>",
        "step: a training step; forward: inference; data: the loader; convert: file to file",
        ["step", "forward", "data", "convert"],
      ),
    )
    .argument("[dir]", "data: a folder of class folders, or one with train/ and val/")
    .option("-a, --arch <name>", "step, forward, convert: architecture (see repkit list)")
    .option("-t, --blocktype <name>", "block (default: the architecture's own)")
    .option("--deploy", "the deployed structure instead of the training structure")
    .option("-b, --batch-size <n>", "images in a batch (default: 8; data: 64)", positiveNumber)
    .option("--img-size <pixels>", "height and width of the images", positiveNumber, 224)
    .option("--num-classes <n>", "number of classes (default: 1000)", positiveNumber)
    .option("--steps <n>", "runs that count; their median is the result", positiveNumber, 10)
    .option("--warmup <n>", "runs before them that do not count", countingNumber, 2)
    .option("--profile", "where the time goes, by kind of operation, where the engine can say")
    .option("-j, --workers <n>", "data: threads that prepare images", countingNumber)
    .addOption(choice("--mode <mode>", "data: whose transforms", ["train", "val"]))
    .action(async (work: BenchWork, dir: string | undefined, flags: BenchFlags) => {
      checkBenchFlags(work, dir, flags);
      if (work === "convert") {
        const { benchConvertCommand } = await import("./commands/bench-convert.js");
        await benchConvertCommand({ numClasses: 1000, ...flags } as Parameters<
          typeof benchConvertCommand
        >[0]);
        return;
      }
      if (dir !== undefined) {
        const { benchDataCommand } = await import("./commands/bench-data.js");
        const defaults = { batchSize: 64, mode: "train", workers: availableParallelism() };
        await benchDataCommand(dir, { ...defaults, ...flags } as Parameters<
          typeof benchDataCommand
        >[1]);
        return;
      }
      const { benchCommand } = await import("./commands/bench.js");
      const defaults = { batchSize: 8, numClasses: 1000 };
      await benchCommand(
        work as "step" | "forward",
        { ...defaults, ...flags } as Parameters<typeof benchCommand>[1],
      );
    });
  command(root, "completion", "what makes a shell complete commands, flags and names", [
    "repkit completion bash",
    "repkit completion zsh > ~/.zsh/completions/_repkit",
    "repkit completion fish > ~/.config/fish/completions/repkit.fish",
  ])
    .addArgument(choiceArgument("<shell>", "whose completion", ["bash", "zsh", "fish"]))
    .action(async (shell: Shell, options: CommonOptions) => {
      const { completion } = await import("./commands/completion.js");
      completion(shell, options, root);
    });
  return root;
}

function command(root: Command, name: string, summary: string, examples: string[]): Command {
  return root
    .command(name)
    .description(summary)
    .addHelpText("after", `\nExamples:\n${examples.map((line) => `  $ ${line}`).join("\n")}`)
    .addOption(new Option("--json", "print one JSON document"))
    .addOption(choice("--engine <name>", "what runs the model", ENGINE_NAMES).default("auto"))
    .addOption(new Option("--device <name>", "cpu, cuda or cuda:N").argParser(device))
    .addOption(choice("--precision <name>", "arithmetic", PRECISIONS).default("fp32"))
    .addOption(new Option("--threads <n>", "CPU threads").argParser(positiveNumber))
    .addOption(new Option("--seed <n>", "seed of all randomness").argParser(wholeNumber).default(0))
    .addOption(choice("--log-level <level>", "log detail", LOG_LEVELS).default("info"))
    .addOption(new Option("--quiet", "no progress and no remarks"));
}

/** Which model it is, where its file leaves that open, and how it looks at images. */
function evaluationOptions(self: Command): Command {
  return self
    .option("-a, --arch <name>", "architecture (default: what the checkpoint is)")
    .option("-t, --blocktype <name>", "block (default: what the checkpoint is)")
    .option(
      "--num-classes <n>",
      "number of classes (default: what the checkpoint has)",
      positiveNumber,
    )
    .option("--root <key>", "take the weights from this entry, where a file holds several")
    .option(
      "--img-size <pixels>",
      "height and width of the images (default: the checkpoint's)",
      positiveNumber,
    )
    .option(
      "--val-resize <pixels>",
      "shorter side before the centre is cut out (default: 256 for 224)",
      positiveNumber,
    )
    .option("--lenient", "accept image files whose end is missing");
}

type BenchWork = "step" | "forward" | "data" | "convert";

/** Of `bench`, whose flags depend on what is measured. */
interface BenchFlags extends CommonOptions {
  readonly arch?: string;
}

/** Flags that not every measurement has. */
const BENCH_FLAGS = {
  arch: "--arch",
  blocktype: "--blocktype",
  deploy: "--deploy",
  numClasses: "--num-classes",
  batchSize: "--batch-size",
  profile: "--profile",
  workers: "--workers",
  mode: "--mode",
} as const;

type BenchFlag = keyof typeof BENCH_FLAGS;

const MODEL_FLAGS = ["arch", "blocktype", "deploy", "numClasses", "batchSize", "profile"] as const;

const BENCH_TAKES: Readonly<Record<BenchWork, readonly BenchFlag[]>> = {
  step: MODEL_FLAGS,
  forward: MODEL_FLAGS,
  data: ["batchSize", "workers", "mode"],
  convert: ["arch", "blocktype", "numClasses"],
};

function checkBenchFlags(work: BenchWork, dir: string | undefined, flags: BenchFlags): void {
  if (work === "data" && dir === undefined) {
    throw usageError("bench data: expected the folder of the images, received none");
  }
  if (work !== "data" && dir !== undefined) {
    throw usageError(`bench ${work}: takes no folder, received "${dir}"`);
  }
  if (work !== "data" && flags.arch === undefined) {
    throw usageError(`bench ${work}: expected an architecture (-a), received none`);
  }
  const strangers = Object.entries(BENCH_FLAGS) as [BenchFlag, string][];
  const stranger = strangers.find(([name]) => name in flags && !BENCH_TAKES[work].includes(name));
  if (stranger !== undefined) throw usageError(`bench ${work}: ${stranger[1]} does not go with it`);
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

function packageVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

/** Messages take one line each. */
export function oneLine(text: string): string {
  return `${text.trim().replace(/\s*\n\s*/g, " ")}\n`;
}
