// docs/cli.md says what the commands say.

import { readFileSync } from "node:fs";

import { expect, it } from "@jest/globals";

import { cliDocs } from "../../scripts/print-cli-docs.js";
import { program } from "../../src/cli/program.js";

it("docs/cli.md is up to date (npm run build && npm run docs)", () => {
  const written = readFileSync(new URL("../../docs/cli.md", import.meta.url), "utf8");
  expect(withoutLayout(written)).toBe(withoutLayout(cliDocs(program())));
});

/** Prettier aligns tables; that does not count. */
function withoutLayout(text: string): string {
  return text.replace(/-{2,}/g, "--").replace(/ +/g, " ");
}
