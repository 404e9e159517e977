/** Asks a compiled addon what it is, in a process of its own: a library that crashes takes only that one down. */
import { spawnSync } from "node:child_process";

import type { Addon } from "./addon.js";

const DESCRIBE = "addon.describe()";

/** What the addon's `describe()`, or another expression over `addon`, answers, or why it does not. */
export function probeAddon(
  { name }: Pick<Addon, "name">,
  path: string,
  env: NodeJS.ProcessEnv,
  question = DESCRIBE,
): { readonly description: unknown } | { readonly problem: string } {
  const { NODE_OPTIONS: _options, ...clean } = env;
  const probe = `
    const module_ = { exports: {} };
    process.dlopen(module_, process.argv[1]);
    const addon = module_.exports;
    process.stdout.write("\\n" + JSON.stringify(${question}));
  `;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ["-e", probe, path], {
    encoding: "utf8",
    env: clean,
    timeout: 120_000,
  });
  // The library may say something of its own first.
  if (status === 0) return { description: JSON.parse(stdout.trim().split("\n").at(-1) ?? "") };
  const error = /^(?:\w*Error): (.*)$/m.exec(stderr)?.[1];
  const ended = signal === null ? `exit code ${status}` : `ended by ${signal}`;
  return { problem: `the ${name} addon does not load: ${error ?? ended}` };
}
