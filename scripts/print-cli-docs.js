// Writes docs/cli.md from the command tree; test/cli/docs.test.ts fails when it is stale.
// Usage: npm run build && node scripts/print-cli-docs.js

import { writeFileSync } from "node:fs";

const EXIT_CODES = `| code | meaning |
| ---- | ------- |
| 0 | done |
| 1 | internal error |
| 2 | usage: a command, flag or name that cannot be used |
| 3 | a file is missing, corrupt, unsafe or of the wrong kind |
| 4 | verification failed |
| 5 | not foldable, with \`--strict\` |
| 6 | training diverged |
| 7 | environment: no engine, no device, no library |
| 130, 143 | stopped by SIGINT, SIGTERM |`;

/**
 * The text of docs/cli.md.
 * @param {import("commander").Command} program
 * @returns {string}
 */
export function cliDocs(program) {
  const commands = program.commands.filter((command) => command.name() !== "help");
  const [first] = commands;
  const isCommon = (/** @type {string} */ flags) =>
    commands.every((command) => command.options.some((option) => option.flags === flags));
  const common = (first?.options ?? []).filter((option) => isCommon(option.flags));
  return [
    "<!-- Written by scripts/print-cli-docs.js from the commands themselves. -->",
    "",
    "# Command line",
    "",
    "Results go to stdout, everything else to stderr. With `--json` stdout holds exactly one JSON document.",
    "",
    ...commands.flatMap((command) => [
      `## ${program.name()} ${command.name()}`,
      "",
      `${command.description()}.`,
      "",
      "```",
      `${program.name()} ${command.name()} ${command.usage()}`,
      "```",
      "",
      ...optionTable(command.options.filter((option) => !isCommon(option.flags))),
    ]),
    "## Flags of every command",
    "",
    ...optionTable(common),
    "## Exit codes",
    "",
    EXIT_CODES,
    "",
  ].join("\n");
}

/**
 * @param {readonly import("commander").Option[]} options
 * @returns {string[]}
 */
function optionTable(options) {
  if (options.length === 0) return [];
  const rows = options.map((option) => {
    const choices = option.argChoices === undefined ? "" : ` (${option.argChoices.join(", ")})`;
    /** @type {unknown} */
    const value = option.defaultValue;
    const isShown = typeof value === "string" || typeof value === "number";
    const standard = isShown ? `; default ${value}` : "";
    return `| \`${option.flags}\` | ${option.description}${choices}${standard} |`;
  });
  return ["| flag | |", "| ---- | --- |", ...rows, ""];
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  /** @type {unknown} */
  const built = await import(new URL("../dist/cli/program.js", import.meta.url).href);
  const { program } = /** @type {typeof import("../src/cli/program.js")} */ (built);
  writeFileSync(new URL("../docs/cli.md", import.meta.url), cliDocs(program()));
}
