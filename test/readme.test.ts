import { readFileSync } from "node:fs";

import { expect, test } from "@jest/globals";

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");

/** The commands of the README's shell blocks. */
const commands = [...read("README.md").matchAll(/^```sh\n([^]*?)^```$/gm)].flatMap((block) =>
  block[1]!.trim().split("\n"),
);

test(".ci/run does what the README's test command does", () => {
  const testCommands = commands.filter((command) => command.includes("npm test"));
  expect(testCommands).toHaveLength(1);
  const steps = testCommands[0]!.split(" && ");

  const script = read(".ci/run").trimEnd().split("\n");
  expect(script.filter((line) => steps.includes(line))).toEqual(steps);
  expect(script.at(-1)).toBe(steps.at(-1));
  expect(script.filter((line) => line.startsWith("npm"))).toEqual(["npm test"]);
});

test("the CI workflow runs .ci/run and nothing else", () => {
  const steps = read(".github/workflows/ci.yml").match(/^ *- run:.*$/gm) ?? [];
  expect(steps.map((step) => step.trim())).toEqual(["- run: .ci/run"]);
});
