/** What there is to complete, read off the command tree: the same for every shell. */
import type { Argument, Command, Option } from "commander";

import { blockTypes } from "../../blocks/index.js";
import { settingChoices } from "../../train/recipe-schema.js";
import { architectures } from "../../zoo/index.js";

/** What may stand in a place. */
export interface Values {
  readonly names: readonly string[];
  readonly files: "none" | "files" | "folders";
}

export interface CompletedFlag {
  /** `-a`, `--arch` */
  readonly names: readonly string[];
  readonly summary: string;
  /** Undefined for a switch. */
  readonly values: Values | undefined;
}

export interface CompletedCommand {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly CompletedFlag[];
  /** One entry per place; the last repeats where `repeats`. */
  readonly places: readonly Values[];
  readonly repeats: boolean;
}

const NOTHING: Values = { names: [], files: "none" };
const HELP: CompletedFlag = { names: ["-h", "--help"], summary: "show help", values: undefined };

/** The commands, and `help`. */
export function completionTree(program: Command): readonly CompletedCommand[] {
  const commands = program.commands.map((command) => ({
    name: command.name(),
    summary: command.description(),
    flags: [
      ...command.options.filter(({ hidden }) => !hidden).map((option) => flag(command, option)),
      HELP,
    ],
    places: command.registeredArguments.map((argument) => place(command, argument)),
    repeats: command.registeredArguments.some(({ variadic }) => variadic),
  }));
  const names = commands.map(({ name }) => name);
  const help = {
    ...{ name: "help", summary: "show help for a command", flags: [HELP] },
    ...{ places: [{ names, files: "none" } as const], repeats: false },
  };
  return [...commands, help];
}

function flag(command: Command, option: Option): CompletedFlag {
  const names = [option.short, option.long].filter((name) => name !== undefined);
  const takesValue = option.required || option.optional;
  const { description: summary } = option;
  return { names, summary, values: takesValue ? valuesOf(command, option) : undefined };
}

/** Names that a flag takes, where it does not say so itself. */
function valuesOf(command: Command, option: Option): Values {
  const files = placeholder(option.flags);
  const name = option.long?.slice(2) ?? "";
  if (option.argChoices !== undefined) return { names: option.argChoices, files: "none" };
  const names = NAMED[name] ?? (command.name() === "train" ? settingChoices(name) : []);
  return { names, files };
}

/** Of configs/; a test holds the list against the folder. */
export const OWN_RECIPES = [
  ...["cpu-small", "sample-data", "resnet", "repvgg", "repvggplus", "orepa"],
];

/** By long name. */
const NAMED: Readonly<Record<string, readonly string[]>> = {
  arch: architectures.map(({ name }) => name),
  blocktype: blockTypes.map(({ name }) => name),
  device: ["cpu", "cuda"],
  config: OWN_RECIPES,
  resume: ["auto"],
};

function place(command: Command, argument: Argument): Values {
  if (argument.argChoices !== undefined) return { names: argument.argChoices, files: "none" };
  if (command.name() === "test") return { names: ["train", "deploy"], files: "files" };
  return { ...NOTHING, files: ["dir", "data"].includes(argument.name()) ? "folders" : "files" };
}

function placeholder(flags: string): Values["files"] {
  if (flags.endsWith("<file>")) return "files";
  return flags.endsWith("<folder>") ? "folders" : "none";
}
