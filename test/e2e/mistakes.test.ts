// What is typed wrong: exit code 2, one line on stderr that says what to type, nothing on stdout.

import { describe, expect, it } from "@jest/globals";

import { repkit } from "../helpers/cli.js";

const info = (...args: string[]) => ["info", "-a", "ResNet-18", "-t", "DBB", ...args];

const MISTAKES: readonly (readonly [args: readonly string[], message: string])[] = [
  [["inof"], "unknown command 'inof' (Did you mean info?)"],
  [["frobnicate"], "unknown command 'frobnicate'"],
  [["info"], "info: expected a FILE or an architecture (-a), received neither"],
  [["info", "-a"], "option '-a, --arch <name>' argument missing"],
  [["info", "-a", "ResNet-19"], 'unknown architecture "ResNet-19"; did you mean "ResNet-18"?'],
  [
    ["info", "-a", "resnext50", "-t", "DBB", "--json"],
    'unknown architecture "resnext50"; did you mean "ResNeXt-50"?',
  ],
  [["info", "-a", "ResNet-18", "-t", "DDB"], 'unknown block "DDB"; did you mean "DBB"?'],
  [
    ["info", "-a", "RepVGG-B1g2", "-t", "OREPA_VGG"],
    "RepVGG-B1g2 has no block OREPA_VGG; nearest valid: OREPA (of RepVGG, base, ACB, DBB, OREPA)",
  ],
  [
    info("--num-classes", "0"),
    "number of classes: expected a whole number from 1 to 500000 (nearest valid: 1), received 0",
  ],
  [
    info("--num-classes", "1e9"),
    "number of classes: expected a whole number from 1 to 500000 (nearest valid: 500000), received 1000000000",
  ],
  [
    info("--img-size", "223.5"),
    "image size: expected a whole number from 1 to 4096 (nearest valid: 224), received 223.5",
  ],
  [
    info("--img-size=-224"),
    "image size: expected a whole number from 1 to 4096 (nearest valid: 1), received -224",
  ],
  [
    info("--img-size", "1e999"),
    "image size: expected a whole number from 1 to 4096 (nearest valid: 4096), received Infinity",
  ],
  [
    info("--num-classes", "ten"),
    "option '--num-classes <n>' argument 'ten' is invalid. expected a number",
  ],
  [
    info("--img-size", "0x40"),
    "option '--img-size <pixels>' argument '0x40' is invalid. expected a number",
  ],
  [
    info("--img-size", ""),
    "option '--img-size <pixels>' argument '' is invalid. expected a number",
  ],
  [info("--depoly"), "unknown option '--depoly' (Did you mean --deploy?)"],
  [info("--frobnicate"), "unknown option '--frobnicate'"],
  [
    info("--engine", "torhc"),
    "option '--engine <name>' argument 'torhc' is invalid. did you mean \"torch\"?",
  ],
  [
    info("--precision", "float"),
    "option '--precision <name>' argument 'float' is invalid. choose from fp32, tf32, bf16, fp64",
  ],
  [
    info("--log-level", "verbose"),
    "option '--log-level <level>' argument 'verbose' is invalid. choose from trace, debug, info, warn, error, fatal, silent",
  ],
  [
    info("--device", "gpu"),
    "option '--device <name>' argument 'gpu' is invalid. expected cpu, cuda or cuda:N",
  ],
  [
    info("--threads", "0"),
    "option '--threads <n>' argument '0' is invalid. expected a whole number from 1",
  ],
  [info("--seed", "1.5"), "option '--seed <n>' argument '1.5' is invalid. expected a whole number"],
  [["list", "everything"], "too many arguments for 'list'. Expected 0 arguments but got 1."],
  [["list", "--jsno"], "unknown option '--jsno' (Did you mean --json?)"],
];

describe("a mistake", () => {
  it.each(MISTAKES.map(([args, message]) => [args.join(" "), message, args] as const))(
    "repkit %s: %s",
    (_line, message, args) => {
      expect(repkit(...args)).toEqual({ code: 2, stdout: "", stderr: `error: ${message}\n` });
    },
  );

  it("no command at all: the help, on stderr", () => {
    const { code, stdout, stderr } = repkit();
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^Usage: repkit /);
  });
});
