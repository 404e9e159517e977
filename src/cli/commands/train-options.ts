/**
 * The flags of `repkit train`: texts, until train-request.ts reads them. A flag's long name is a
 * recipe's key (src/train/recipe-schema.ts).
 */
import { Option, type Command } from "commander";

type Flag = readonly [flags: string, description: string];

/** Flags with a value: their names are settings. */
const VALUES: readonly Flag[] = [
  ["-a, --arch <name>", "architecture (see repkit list)"],
  ["-t, --blocktype <name>", "block (default: the architecture's own)"],
  ["--num-classes <n>", "number of classes (default: folders found)"],
  ["--img-size <pixels>", "height and width of the images (default: 224)"],
  ["--data <folder>", "instead of DATA; also REPKIT_DATA"],
  ["-j, --workers <n>", "images prepared at the same time (default: one per core)"],
  ["-b, --batch-size <n>", "images per step on this node (default: 256)"],
  ["--val-batch-size <n>", "the same in validation (default: --batch-size)"],
  ["--val-resize <pixels>", "shorter side before the centre is cut out (default: 256 for 224)"],
  ["--on-bad-image <what>", "skip or fail (default: fail)"],
  ["--resize <kernel>", "pil, which is exact, or one of sharp's kernels (default: pil)"],
  ["--aug <strength>", "weak: crop and mirror; strong: colours too (default: by architecture)"],
  ["--lighting <std>", "PCA lighting"],
  ["--rand-augment <spec>", "timm's notation: rand-m9-mstd0.5-inc1; or raug15"],
  ["--erasing <probability>", "random erasing (default: 0)"],
  ["--erasing-mode <mode>", "const, rand or pixel (default: pixel)"],
  ["--mixup <alpha>", "mixup (default: 0)"],
  ["--cutmix <alpha>", "cutmix (default: 0)"],
  ["--mix-probability <p>", "of mixing a batch (default: 1)"],
  ["--mix-switch-probability <p>", "of cutmix where mixup is on too (default: 0.5)"],
  ["--epochs <n>", "how often to go through the images (default: 120)"],
  ["--start-epoch <n>", "epochs to count as done (default: 0)"],
  ["--max-steps <n>", "end after so many steps"],
  ["--lr, --learning-rate <rate>", "for the whole batch, after warm-up (default: 0.1)"],
  ["--schedule <kind>", "cosine, step or constant (default: cosine)"],
  ["--step-epochs <n>", "epochs between two steps of the schedule (default: 30)"],
  ["--step-factor <x>", "what a step multiplies the rate by (default: 0.1)"],
  ["--warmup-epochs <n>", "the rate rises so long (default: 0; OREPA: epochs/24 steps)"],
  ["--warmup-iterations <n>", "the same, in steps"],
  ["--warmup-form <form>", "linear, orepa or timm (default: the reference's)"],
  ["--momentum <x>", "of SGD (default: 0.9)"],
  ["--wd, --weight-decay <x>", "weight decay (default: 1e-4)"],
  [
    "--decay-rule <rule>",
    "dbb, orepa, repvgg_paper, repvgg_repo or all (default: the reference's)",
  ],
  ["--label-smoothing <x>", "share of the target for all classes (default: 0)"],
  ["--aux-weight <x>", "of each auxiliary head's loss (default: 0.1)"],
  ["--clip-norm <x>", "largest norm of the gradient (default: 0, off)"],
  ["--ema-decay <x>", "keep averaged weights too (default: 0, off)"],
  ["--pretrained <file>", "weights to start from; a head of another size starts anew"],
  ["--gpu <n>", "short for --device cuda:N"],
  ["--world-size <n>", "nodes; processes, where this command starts none"],
  ["--rank <n>", "which of them this is, from 0"],
  ["--dist-url <url>", "tcp://HOST:PORT of rank 0, or env://"],
  ["--dist-backend <name>", "gloo or nccl (default: nccl on GPUs)"],
  [
    "--dist-timeout <seconds>",
    "a lost or stuck process ends the job within so long (default: 180)",
  ],
  ["--nproc <n>", "processes to start on this node"],
  ["--out <folder>", "run directory (default: runs/<arch>_<block>[_<tag>])"],
  ["--tag <name>", "part of the run directory's name"],
  ["-p, --print-freq <n>", "steps from one printed line to the next (default: 10)"],
  ["--save-every-steps <n>", "a checkpoint also after so many steps (default: 0, off)"],
  ["--keep <n>", "older checkpoints to keep (default: 0)"],
];

/** Flags that are on or off: `--no-` before the name switches off what a recipe switches on. */
const SWITCHES: readonly Flag[] = [
  ["--nesterov", "Nesterov momentum (default: the reference's)"],
  ["--custwd", "RepVGG's custom L2 instead of weight decay in its blocks"],
  ["--insert-bn", "train a converted model with a batch norm after each convolution"],
  ["--lenient", "accept image files whose end is missing"],
  ["--exif-orientation", "turn images as their EXIF data says"],
  ["--deterministic", "same inputs, same bits, on GPUs too"],
  ["--multiprocessing-distributed", "start a process for each GPU of this node"],
];

/** Adds the argument DATA and all flags but those of every command. */
export function trainOptions(command: Command): Command {
  command
    .argument("[data]", "folder with train/<class>/ and val/<class>/ (default: ./data)")
    .option(
      "--config <file>",
      "recipe: a YAML file, or one of repkit's own (sample-data, cpu-small, resnet, repvgg, repvggplus, orepa); flags win over it",
    )
    .option("--resume <file>", "continue a run: a checkpoint, or auto")
    .option("-e, --evaluate", "validate only");
  for (const [flags, description] of VALUES) command.option(flags, description);
  for (const [flags, description] of SWITCHES) {
    command.option(flags, description);
    command.addOption(new Option(flags.replace("--", "--no-"), `off: ${description}`).hideHelp());
  }
  return command;
}
