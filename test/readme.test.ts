import { readFileSync } from "node:fs";

import { expect, test } from "@jest/globals";

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");

/** The commands of the README's shell blocks. */
const commands = [...read("README.md").matchAll(/^```sh\n([^]*?)^```$/gm)].flatMap((block) =>
  block[1]!.trim().split("\n"),
);

test(".ci/run runs the README's test command and nothing else", () => {
  const testCommands = commands.filter((command) => command.includes("npm test"));
  expect(testCommands).toHaveLength(1);

  const script = read(".ci/run").trimEnd().split("\n");
  expect(script.at(-1)).toBe(testCommands[0]);
  expect(script.filter((line) => line.includes("npm"))).toEqual(testCommands);
});

test("the CI workflow runs .ci/run and nothing else", () => {
  const steps = read(".github/workflows/ci.yml").match(/^ *- run:.*$/gm) ?? [];
  expect(steps.map((step) => step.trim())).toEqual(["- run: .ci/run"]);
});
