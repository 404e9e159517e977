// Every command and script of the README, in order, in one folder, as a reader would run them.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { beforeAll, describe, expect, it } from "@jest/globals";

import { findTables, modelTables } from "../../scripts/print-model-table.js";
import { saveCheckpoint } from "../../src/checkpoint/index.js";
import { initialState } from "../../src/graph/index.js";
import { buildModel, type ModelOptions } from "../../src/zoo/index.js";
import { repkit } from "../helpers/cli.js";
import { ROOT, userFolder } from "../helpers/package.js";
import { loadTorchEngine } from "../helpers/torch-engine.js";

/** The files that the README takes for granted; all others its own commands have to make. */
const GIVEN: Readonly<Record<string, ModelOptions>> = {
  "resnet18_dbb.pth": { arch: "ResNet-18", block: "DBB" },
  "my_model.ckpt": { arch: "RepVGG-A0", block: "RepVGG" },
};

/** Blocks that do nothing without an engine. */
const NEEDS_ENGINE = /repkit (train|test|predict)\b/;

/** How the blocks begin that set up. */
const INSTALLS = /^(scripts\/setup|npm ci)\b/;

interface Block {
  title: string;
  language: "sh" | "js";
  code: string;
  /** What follows, in a block without a language, is what the command prints. */
  output: string | undefined;
}

/** `sh` and `js` blocks run, but for those that install. */
function runnableBlocks(markdown: string): Block[] {
  const fences = [...markdown.matchAll(/^```(\w*)\n([^]*?)^```$/gm)].map((match) => ({
    ...{ language: match[1]!, code: match[2]!, start: match.index },
    end: match.index + match[0].length,
  }));
  return fences.flatMap(({ language, code, start, end }, i) => {
    if ((language !== "sh" && language !== "js") || INSTALLS.test(code)) return [];
    const next = fences[i + 1];
    const follows = next?.language === "" && markdown.slice(end, next.start).trim() === "";
    const line = markdown.slice(0, start).split("\n").length;
    const title = `line ${line}: ${code.trim().split("\n").at(0)}`;
    return [{ title, language, code, output: follows ? next.code : undefined }];
  });
}

/** Numbers and the names of layers depend on weights and machines; words do not. */
const wording = (text: string) =>
  text
    .replace(/most in [\w.]+/g, "most in LAYER")
    .replace(/\d+(\.\d+)?(e[+-]?\d+)?/g, "N")
    .replace(/\s+/g, " ")
    .trim();

/** The comment that ends a script: what it prints. */
const lastComment = (code: string) =>
  /((?:^\/\/.*\n)+)$/m.exec(code)?.[1]?.replaceAll(/^\/\/ ?/gm, "") ?? "";

const user = userFolder();
const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const blocks = runnableBlocks(readme);

beforeAll(() => {
  const text = blocks.map(({ code }) => code).join("\n");
  for (const [name, options] of Object.entries(GIVEN)) {
    if (!text.includes(name)) continue;
    const model = buildModel(options);
    saveCheckpoint(join(user.path, name), { model, state: initialState(model.graph, 0) });
  }
});

describe("README.md", () => {
  it("has commands and scripts", () => {
    expect(blocks.filter(({ language }) => language === "sh").length).toBeGreaterThan(1);
    expect(blocks.filter(({ language }) => language === "js").length).toBeGreaterThan(0);
  });

  const engine = loadTorchEngine();
  // Titles say what is left out.
  const rows = blocks.map((block, i) => {
    const isSkipped = engine === undefined && NEEDS_ENGINE.test(block.code);
    return {
      title: isSkipped ? `${block.title} (skipped: no engine)` : block.title,
      block,
      i,
      isSkipped,
    };
  });
  for (const { title } of rows.filter(({ isSkipped }) => isSkipped))
    it.skip(title, () => undefined);
  it.each(
    rows
      .filter(({ isSkipped }) => !isSkipped)
      .map(({ title, block, i }) => [title, block, i] as const),
  )(
    "%s",
    (_title, block, i) => {
      const { language, code, output } = block;
      const outcome =
        language === "sh" ? user.run("sh", "-eu", "-c", code) : user.node(`readme-${i}.mjs`, code);
      if (outcome.code !== 0) {
        throw new Error(`exit code ${outcome.code} of\n\n${code}\n${outcome.stderr}`);
      }
      expect(outcome.stderr).not.toMatch(/error/i);
      if (output !== undefined) expect(wording(outcome.stdout)).toBe(wording(output));
      if (language === "js") {
        const printed = outcome.stdout.replace(/\s+/g, " ");
        expect(printed).toContain(lastComment(code).replace(/\s+/g, " ").trim());
      }
    },
    120_000,
  );
});

describe("what README.md says besides", () => {
  it("the tables of models are up to date (npm run build && npm run docs)", () => {
    const list = JSON.parse(repkit("list", "--json").stdout) as Parameters<typeof modelTables>[0];
    const cells = (table: string) => table.replace(/-{2,}/g, "--").replace(/ +/g, " ");
    expect(cells(findTables(readme).tables)).toBe(cells(modelTables(list)));
  });

  const main = /^scripts\/setup && (npx repkit sample-data .* && npx repkit train .*)$/m.exec(
    readme,
  );
  const runs = loadTorchEngine() === undefined ? it.skip : it;
  runs(
    "the first command does its work once it is set up (one step of it)",
    () => {
      const command = main![1]!.replaceAll("npx repkit", "repkit");
      const { code, stderr } = user.run(
        "sh",
        "-euc",
        `mkdir main; cd main; ${command} --max-steps 1`,
      );
      expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    },
    120_000,
  );
});

describe("the blocks that are run", () => {
  it("are those in sh and js, but for the installation", () => {
    const text =
      "```sh\nscripts/setup && x\n```\na\n```sh\nrun 1\n```\n\n```\nprints\n```\nb\n```\nnot\n```\n" +
      "```js\ncode();\n// says\n```\n```yaml\nkey: 1\n```\n```\nnothing\n```\n";
    expect(runnableBlocks(text)).toEqual([
      { title: "line 5: run 1", language: "sh", code: "run 1\n", output: "prints\n" },
      { title: "line 16: code();", language: "js", code: "code();\n// says\n", output: undefined },
    ]);
    expect(lastComment("code(); // here\n// says\n//   this\n")).toBe("says\n  this\n");
    expect(wording("  1.5 M in stage2.1, most in stage3.x:\n 3.6e-8")).toBe(
      "N M in stageN, most in LAYER: N",
    );
  });
});
