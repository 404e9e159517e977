/** `repkit completion SHELL`: prints a completion script. */
import type { Command } from "commander";

import { blockTypes } from "../../blocks/index.js";
import { settingChoices } from "../../train/recipe-schema.js";
import { architectures } from "../../zoo/index.js";
import { completionScript, type Shell } from "../completion/scripts.js";
import { vocabulary } from "../completion/vocabulary.js";
import type { CommonOptions } from "../options.js";

export function completion(shell: string, options: CommonOptions, program: Command): void {
  const script = completionScript(shell as Shell, vocabulary(program, namesOf()));
  const text = options.json === true ? `${JSON.stringify({ shell, script })}\n` : script;
  process.stdout.write(text);
}

/** Of flags that do not list their values themselves, by long name. */
function namesOf(): Readonly<Record<string, readonly string[]>> {
  return {
    ...settingChoices(),
    arch: architectures.map(({ name }) => name),
    blocktype: blockTypes.map(({ name }) => name),
  };
}
