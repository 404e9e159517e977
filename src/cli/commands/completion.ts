/** `repkit completion SHELL`: prints what makes a shell complete repkit's commands, flags and names. */
import type { Command } from "commander";

import { bashCompletion } from "../completion/bash.js";
import { fishCompletion } from "../completion/fish.js";
import { completionTree } from "../completion/tree.js";
import { zshCompletion } from "../completion/zsh.js";
import type { CommonOptions } from "../options.js";

const SCRIPTS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

export type Shell = keyof typeof SCRIPTS;

export function completion(shell: Shell, options: CommonOptions, program: Command): void {
  const script = SCRIPTS[shell](completionTree(program));
  process.stdout.write(options.json === true ? `${JSON.stringify({ shell, script })}\n` : script);
}
