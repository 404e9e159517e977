// Completion scripts, asked by the shells themselves; a shell that is not there is skipped aloud.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, it } from "@jest/globals";

import { completion } from "../../../src/cli/commands/completion.js";
import { completionScript, SHELLS, type Shell } from "../../../src/cli/completion/scripts.js";
import { vocabulary } from "../../../src/cli/completion/vocabulary.js";
import { program } from "../../../src/cli/program.js";
import { captureOutput } from "../../helpers/written.js";

const folder = mkdtempSync(join(tmpdir(), "repkit-completion-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const written = captureOutput();

const words = vocabulary(program(), {
  arch: ["ResNet-18", "ResNet-50", "RepVGG-A0"],
  blocktype: ["base", "DBB"],
});
const scriptOf = (shell: Shell) => {
  const path = join(folder, `repkit.${shell}`);
  writeFileSync(path, completionScript(shell, words));
  return path;
};
const run = (shell: Shell, ...args: string[]) =>
  spawnSync(shell, args, { encoding: "utf8", cwd: folder });
const isThere = (shell: Shell) => run(shell, "-c", "exit 0").status === 0;

/** What bash offers at the end of a line; of words with a colon the part behind it, as bash wants it. */
function bash(line: string): string[] {
  const ask = `source ${scriptOf("bash")}; COMP_LINE="$1" COMP_POINT=\${#1}; _repkit; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = run("bash", "--norc", "-c", ask, "bash", line);
  expect(stderr).toBe("");
  return stdout.split("\n").filter((word) => word !== "");
}

describe("bash", () => {
  it("completes commands", () => {
    expect(bash("repkit ")).toEqual(expect.arrayContaining(["train", "verify", "help", "--help"]));
    expect(bash("repkit co")).toEqual(["convert", "completion"]);
  });

  it("completes a command's own flags", () => {
    expect(bash("repkit verify --ag")).toEqual(["--against"]);
    expect(bash("repkit list --ag")).toEqual([]);
    expect(bash("repkit train --no-")).toEqual([]);
  });

  it("completes names of architectures, blocks, engines", () => {
    expect(bash("repkit train -a ResNet-")).toEqual(["ResNet-18", "ResNet-50"]);
    expect(bash("repkit train data --blocktype D")).toEqual(["DBB"]);
    expect(bash("repkit test --engine tfjs:w")).toEqual(["wasm"]);
    expect(bash("repkit info --precision ")).toEqual(["fp32", "tf32", "bf16", "fp64"]);
  });

  it("completes arguments that are names, and leaves files to bash", () => {
    expect(bash("repkit bench ")).toEqual(["step", "forward", "data"]);
    expect(bash("repkit help ver")).toEqual(["verify"]);
    expect(bash("repkit convert ")).toEqual([]);
    expect(bash("repkit verify --against ")).toEqual([]);
  });
});

describe.each(SHELLS)("%s", (shell) => {
  const test = isThere(shell) ? it : it.skip;

  test(`parses the script${isThere(shell) ? "" : ", skipped: it is not installed"}`, () => {
    const { status, stderr } = run(shell, "-n", scriptOf(shell));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it("is told every command and every flag that help shows", () => {
    const script = completionScript(shell, words);
    for (const command of program().commands) {
      expect(script).toContain(command.name());
      for (const { long, hidden } of command.options) {
        if (!hidden && long) expect(script).toContain(shell === "fish" ? long.slice(2) : long);
      }
    }
  });
});

(isThere("fish") ? it : it.skip)("fish offers what it should", () => {
  const offered = (line: string) =>
    run("fish", "--no-config", "-c", `source ${scriptOf("fish")}; complete -C "${line}"`)
      .stdout.split("\n")
      .map((row) => row.split("\t")[0]);
  expect(offered("repkit ver")).toContain("verify");
  expect(offered("repkit verify --ag")).toContain("--against");
  expect(offered("repkit train -a Re")).toContain("ResNet-18");
});

describe("the command", () => {
  const common = { ...{ logLevel: "info", engine: "auto", precision: "fp32", seed: 0 } };

  it("prints the script with all names that exist", () => {
    completion("bash", common, program());
    expect(written.stdout).toMatch(/^# bash completion of repkit\n/);
    expect(written.stdout).toContain("RepVGGplus-L2pse");
    expect(written.stdout).toContain('"train --dist-backend") names=(gloo nccl)');
  });

  it("--json has it in a document", () => {
    completion("fish", { ...common, json: true }, program());
    const document = JSON.parse(written.stdout) as { shell: string; script: string };
    expect(document.shell).toBe("fish");
    expect(document.script).toMatch(/^# fish completion of repkit\n/);
  });
});
