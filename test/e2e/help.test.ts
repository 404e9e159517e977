// `--help`, `--version`, and what they load.

import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "@jest/globals";

import { program } from "../../src/cli/program.js";
import { repkit } from "../helpers/cli.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const commands = program().commands.map((command) => command.name());

describe("help", () => {
  it("lists every command", () => {
    expect(commands).toEqual(expect.arrayContaining(["list", "info"]));
    const { code, stdout, stderr } = repkit("--help");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^Usage: repkit /);
    for (const name of commands) expect(stdout).toMatch(new RegExp(`^ {2}${name} `, "m"));
  });

  it.each(commands)("%s --help shows usage, flags and examples that name it", (name) => {
    const { code, stdout, stderr } = repkit(name, "--help");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(new RegExp(`^Usage: repkit ${name} `));
    for (const flag of ["--json", "--engine", "--device", "--precision", "--threads", "--seed"]) {
      expect(stdout).toContain(`  ${flag} `);
    }
    const examples = stdout.slice(stdout.indexOf("\nExamples:\n"));
    expect(examples).toMatch(new RegExp(`^ {2}\\$ repkit ${name}( |$)`, "m"));
    expect(repkit("help", name).stdout).toBe(stdout);
  });

  // What follows a pipe is another program's, files are the reader's own, and what an engine's
  // commands find is the machine's (doctor.test.ts).
  const complete = commands
    .flatMap(examplesOf)
    .map((line) => line.replace(/ \|.*/, ""))
    .filter((line) => !/\.\w+( |$)|\/|^repkit (doctor|build)\b/.test(line));

  it.each(complete.map((line) => [line]))("the example works: %s", (line) => {
    const [first, ...args] = line.split(" ");
    expect(first).toBe("repkit");
    const { code, stderr } = repkit(...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  it("--version prints the package's", () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      version: string;
    };
    for (const flag of ["--version", "-V"]) {
      expect(repkit(flag)).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    }
  });
});

/** The lines after `$` in a command's help. */
function examplesOf(name: string): string[] {
  return [...repkit(name, "--help").stdout.matchAll(/^ {2}\$ (.+)$/gm)].map((match) => match[1]!);
}

describe("what is loaded", () => {
  /** Modules that a built file imports when it is loaded: paths under dist/, and packages. */
  function loadedBy(entry: string, seen = new Set<string>()): Set<string> {
    if (seen.has(entry)) return seen;
    seen.add(entry);
    const source = readFileSync(join(root, "dist", entry), "utf8");
    const statements = /^(?:import|export)\s(?:[^"'`;=()]*\sfrom\s*)?["']([^"']+)["']/gm;
    for (const [, name = ""] of source.matchAll(statements)) {
      if (name.startsWith(".")) loadedBy(join(dirname(entry), name), seen);
      else seen.add(name);
    }
    return seen;
  }
  const folders = (names: Iterable<string>) =>
    [
      ...new Set(
        [...names].filter((name) => name.endsWith(".js")).map((name) => name.split("/")[0]!),
      ),
    ].sort();
  const packages = (names: Iterable<string>) =>
    [...names].filter((name) => !name.endsWith(".js") && !name.startsWith("node:"));

  it("--help: the command line's own files, the engines' names, errors, and commander", () => {
    const loaded = loadedBy("cli/main.js");
    expect([...loaded].filter((name) => name.endsWith(".js")).sort()).toEqual([
      ...["cli/commands/train-options.js", "cli/main.js", "cli/parsers.js", "cli/program.js"],
      ...["cli/signals.js", "engine/index.js", "errors.js", "util/suggest.js"],
    ]);
    expect(packages(loaded)).toEqual(["commander"]);
  });

  it.each([
    ["main", ["commander"]],
    ["commands/info", []],
    ["commands/list", []],
    ["commands/convert", []],
  ])("as bundled, %s loads %j and no other package", (name, expected) => {
    // Bundled, a command is the chunk that has its name.
    const bundle = readdirSync(join(root, "dist/bundle"));
    const chunk = new RegExp(`^${basename(name)}(-[A-Z0-9]+)?\\.js$`);
    const entry = bundle.find((file) => chunk.test(file))!;
    expect(packages(loadedBy(`bundle/${entry}`))).toEqual(expected);
  });

  it.each(["info", "list"])("%s: graphs and architectures, and no package", (name) => {
    const loaded = loadedBy(`cli/commands/${name}.js`);
    const allowed = ["blocks", "cli", "errors.js", "graph", "linalg", "util", "zoo"];
    expect(folders(loaded).filter((folder) => !allowed.includes(folder))).toEqual([]);
    expect(folders(loaded)).toEqual(expect.arrayContaining(["blocks", "graph", "zoo"]));
    expect(packages(loaded)).toEqual([]);
    expect(loaded).not.toContain("cli/main.js");
  });
});
