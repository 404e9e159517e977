/** What can be typed: commands, their flags, and the values that are known by name. */
import type { Command } from "commander";

export interface Word {
  readonly word: string;
  readonly help: string;
}

export interface CommandWords extends Word {
  readonly flags: readonly FlagWords[];
  /** Names that an argument may have; empty: files. */
  readonly names: readonly string[];
}

export interface FlagWords {
  /** `-a` and `--arch`; one of them may be missing. */
  readonly spellings: readonly string[];
  readonly help: string;
  /** Undefined: it takes no value; empty: files, or anything. */
  readonly values: readonly string[] | undefined;
}

/** `values`: names for flags that do not list them themselves, by long name without dashes. */
export function vocabulary(
  program: Command,
  values: Readonly<Record<string, readonly string[]>>,
): readonly CommandWords[] {
  const commands = program.commands.map((command) => ({
    word: command.name(),
    help: command.description(),
    flags: [
      ...command.options
        .filter(({ hidden }) => !hidden)
        .map(({ short, long, description, argChoices, required, optional }) => ({
          spellings: [short, long].filter((spelling) => spelling !== undefined),
          help: description,
          values:
            required || optional ? (argChoices ?? values[(long ?? "").slice(2)] ?? []) : undefined,
        })),
      { spellings: ["-h", "--help"], help: "show help", values: undefined },
    ],
    names: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
  }));
  const help = {
    ...{ word: "help", help: "show help for a command", flags: [] },
    names: commands.map(({ word }) => word),
  };
  return [...commands, help];
}
