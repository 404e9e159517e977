/**
 * What a command line of `repkit train` says. A flag's value is held against the schema of the recipe's
 * key of the same name, so flags and recipes cannot differ in what they accept.
 */
import type { Command, Option } from "commander";

import { RepkitError, usageError } from "../../errors.js";
import {
  isNumber,
  isSetting,
  problemWith,
  type Recipe,
  type SettingName,
} from "../../train/recipe-schema.js";

export interface TrainRequest {
  /** Path of the recipe. */
  readonly config: string | undefined;
  readonly flags: Recipe;
  /** A checkpoint, or `auto`: the run directory's last one where there is one. */
  readonly resume: string | undefined;
  readonly evaluate: boolean;
}

/**
 * Call it when `command`, made by `trainOptions`, has parsed. Only what was given counts: a default
 * would hide what the recipe says.
 */
export function trainRequest(data: string | undefined, command: Command): TrainRequest {
  const given = new Map<SettingName, unknown>(data === undefined ? [] : [["data", data]]);
  const problems: string[] = [];
  for (const option of command.options) {
    const name = settingOf(option);
    const attribute = option.attributeName();
    if (command.getOptionValueSource(attribute) !== "cli" || !isSetting(name)) continue;
    const value = valueOf(name, command.getOptionValue(attribute));
    const problem = problemWith(name, value);
    // Both --x and --no-x come by.
    if (problem !== undefined) problems.push(`--${option.name()}: ${problem}`);
    if (name === "data" && data !== undefined && value !== data) {
      problems.push(`DATA is "${data}" and --data says otherwise: leave out one`);
    }
    given.set(name, value);
  }
  if (problems.length > 0) throw new RepkitError("usage", problems.join("; "));
  const { config, resume, evaluate = false } = command.opts<Partial<TrainRequest>>();
  const flags = Object.fromEntries(given) as Recipe;
  checkStart(flags, resume);
  return { config, flags, resume, evaluate };
}

/** What a run starts from is said once. With `auto` there may be nothing to resume yet. */
function checkStart(flags: Recipe, resume: string | undefined): void {
  if (resume === undefined || resume === "auto") return;
  const other = (["pretrained", "start-epoch"] as const).find((name) => flags[name] !== undefined);
  if (other === undefined) return;
  throw usageError(`--resume and --${other}: the checkpoint says where to go on; leave out one`);
}

/** Its name, which is a setting's for all but a few flags. */
function settingOf(option: Option): string {
  const name = option.negate ? option.name().replace(/^no-/, "") : option.name();
  return name === "learning-rate" ? "lr" : name;
}

function valueOf(name: SettingName, value: unknown): unknown {
  if (typeof value !== "string" || !isNumber(name)) return value;
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value) ? Number(value) : value;
}
