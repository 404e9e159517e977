/** Values of flags: text as people write it, to what commands are given. */
import { Argument, InvalidArgumentError, Option } from "commander";

import { nearestOf } from "../util/suggest.js";

/** An option whose value is one of a few names; another name is answered with the nearest. */
export function choice(flags: string, description: string, names: readonly string[]): Option {
  return new Option(flags, description).choices(names).argParser(oneOf(names));
}

/** The same for an argument. */
export function choiceArgument(
  name: string,
  description: string,
  names: readonly string[],
): Argument {
  return new Argument(name, description).choices(names).argParser(oneOf(names));
}

export function oneOf(names: readonly string[]): (text: string) => string {
  return (text) => {
    if (!names.includes(text)) throw new InvalidArgumentError(nearestOf(text, names));
    return text;
  };
}

/** A number as people write it; which numbers make sense is for the command to say. */
export function number(text: string): number {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    throw new InvalidArgumentError("expected a number");
  }
  return Number(text);
}

export function wholeNumber(text: string): number {
  const value = number(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError("expected a whole number");
  return value;
}

export function positiveNumber(text: string): number {
  return wholeNumberFrom(1, text);
}

export function countingNumber(text: string): number {
  return wholeNumberFrom(0, text);
}

function wholeNumberFrom(least: number, text: string): number {
  const value = wholeNumber(text);
  if (value < least) throw new InvalidArgumentError(`expected a whole number from ${least}`);
  return value;
}

export function device(text: string): string {
  if (!/^(cpu|cuda(:\d{1,3})?)$/.test(text)) {
    throw new InvalidArgumentError("expected cpu, cuda or cuda:N");
  }
  return text;
}
