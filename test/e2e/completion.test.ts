// `repkit completion`: its script in a real bash; zsh and fish at least parse theirs where they are installed.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import { program } from "../../src/cli/program.js";
import { repkit } from "../helpers/cli.js";

const folder = mkdtempSync(join(tmpdir(), "repkit-completion-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const scripts = { bash: "", zsh: "", fish: "" };
beforeAll(() => {
  for (const shell of ["bash", "zsh", "fish"] as const) {
    scripts[shell] = join(folder, `repkit.${shell}`);
    writeFileSync(scripts[shell], repkit("completion", shell).stdout);
  }
  writeFileSync(join(folder, "a file.ckpt"), "");
});

const isThere = (shell: string) => spawnSync(shell, ["--version"]).status === 0;

/** What bash offers when Tab is pressed after these words, as it splits them. */
function complete(...words: string[]): string[] {
  const program = `source "$1"; shift
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _repkit && printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync(
    "bash",
    ["--norc", "-c", program, "bash", scripts.bash, ...words],
    { encoding: "utf8", cwd: folder },
  );
  // A shell without a terminal has no completion whose options it could change.
  expect(stderr).toBe("");
  return stdout.split("\n").filter((line) => line !== "");
}

describe("in bash", () => {
  const commands = program().commands.map((command) => command.name());

  it("commands, and those that help explains", () => {
    expect(complete("repkit", "").sort()).toEqual([...commands, "help"].sort());
    expect(complete("repkit", "ver")).toEqual(["verify"]);
    expect(complete("repkit", "help", "conv")).toEqual(["convert"]);
  });

  it("every flag that a command's help shows, and no other", () => {
    for (const command of program().commands) {
      const shown = command.createHelp().visibleOptions(command);
      const flags = shown.flatMap(({ short, long }) => [short, long]).filter(Boolean);
      expect(complete("repkit", command.name(), "-").sort()).toEqual(flags.sort());
    }
  });

  it("architectures and blocks of the registry", () => {
    expect(complete("repkit", "train", "--arch", "RepVGG-D")).toEqual(["RepVGG-D2se"]);
    expect(complete("repkit", "info", "-a", "ResNet-18")).toContain("ResNet-18");
    expect(complete("repkit", "verify", "--json", "-t", "OREPA")).toEqual(["OREPA", "OREPA_VGG"]);
  });

  it("names that a flag takes, also after = and across the colon at which bash splits", () => {
    expect(complete("repkit", "train", "--aug", "")).toEqual(["weak", "strong"]);
    expect(complete("repkit", "train", "--config", "orep")).toEqual(["orepa"]);
    expect(complete("repkit", "test", "--precision", "=", "f")).toEqual(["fp32", "fp64"]);
    expect(complete("repkit", "verify", "--engine", "=")).toContain("tfjs:wasm");
    expect(complete("repkit", "verify", "--engine", "tfjs", ":", "w")).toEqual(["wasm"]);
    expect(complete("repkit", "verify", "--engine", "=", "tfjs", ":", "n")).toEqual(
      expect.arrayContaining(["node", "node-gpu"]),
    );
  });

  it("arguments by their place: a flag's value is none", () => {
    expect(complete("repkit", "bench", "")).toEqual(["step", "forward", "data", "convert"]);
    expect(complete("repkit", "bench", "-a", "ResNet-18", "f")).toEqual(["forward"]);
    expect(complete("repkit", "bench", "step", "f")).toEqual([]);
    expect(complete("repkit", "build", "tfjs-node-")).toEqual(["tfjs-node-gpu"]);
  });

  it("files beside names where both may stand, with their spaces", () => {
    expect(complete("repkit", "test", "./data", "")).toEqual(
      expect.arrayContaining(["train", "deploy", "a file.ckpt"]),
    );
  });

  it("nothing of what is a number or unknown", () => {
    expect(complete("repkit", "train", "--lr", "")).toEqual([]);
    expect(complete("repkit", "nosuch", "")).toEqual([]);
  });
});

const fishIt = isThere("fish") ? it : it.skip;
const zshIt = isThere("zsh") ? it : it.skip;

describe("in other shells", () => {
  fishIt("fish completes the same names", () => {
    const offered = (line: string) =>
      spawnSync(
        "fish",
        ["--no-config", "-c", `source "$argv[1]"; complete -C "$argv[2]"`, scripts.fish, line],
        {
          encoding: "utf8",
          cwd: folder,
        },
      )
        .stdout.split("\n")
        .map((row) => row.split("\t")[0]);
    expect(offered("repkit verif")).toContain("verify");
    expect(offered("repkit train --arch RepVGG-D")).toContain("RepVGG-D2se");
    expect(offered("repkit verify --engine tfjs:w")).toContain("tfjs:wasm");
    expect(offered("repkit train --label-s")).toContain("--label-smoothing");
  });

  zshIt("zsh parses its script", () => {
    expect(spawnSync("zsh", ["-n", scripts.zsh], { encoding: "utf8" })).toMatchObject({
      status: 0,
      stderr: "",
    });
  });
});

describe("the command", () => {
  it("--json has the script in one document", () => {
    const { code, stdout } = repkit("completion", "bash", "--json");
    const { shell, script } = JSON.parse(stdout) as { shell: string; script: string };
    expect({ code, shell }).toEqual({ code: 0, shell: "bash" });
    expect(script).toBe(repkit("completion", "bash").stdout);
  });

  it("another shell is a usage error with the nearest", () => {
    const { code, stdout, stderr } = repkit("completion", "bsh");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain('did you mean "bash"?');
  });
});
