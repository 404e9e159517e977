import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, it } from "@jest/globals";

import { RepkitError } from "../../src/errors.js";
import { findRecipe, parseRecipe, readRecipe } from "../../src/train/recipe.js";

const folder = mkdtempSync(join(tmpdir(), "recipe-"));
afterAll(() => rmSync(folder, { recursive: true }));

function failure(work: () => unknown): RepkitError {
  try {
    work();
  } catch (error) {
    if (error instanceof RepkitError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const parse = (text: string) => parseRecipe(text, "x.yaml");
/** The message without the line that counts. */
const problems = (text: string) =>
  failure(() => parse(text))
    .message.split("\n")
    .slice(1);

describe("parseRecipe", () => {
  it("gives what the text says and nothing else", () => {
    const text = "arch: ResNet-18 # comment\nlr: 5e-2\nnesterov: true\ncolor-jitter: {hue: 0.1}\n";
    expect(parse(text)).toEqual({
      arch: "ResNet-18",
      lr: 0.05,
      nesterov: true,
      "color-jitter": { hue: 0.1 },
    });
    expect(parse("")).toEqual({});
    expect(parse("# nothing\n")).toEqual({});
  });

  it("lists all problems at once, each with its place", () => {
    const error = failure(() =>
      parse("batch_size: 4\nepochs: -1\naug: storng\ncolor-jitter:\n  hue: 0.7\n  hew: 1\n"),
    );
    expect(error.kind).toBe("usage");
    expect(error.message.split("\n")).toEqual([
      "x.yaml: 5 problems:",
      '✖ unknown value "storng"; did you mean "strong"?',
      "  → at aug",
      "✖ expected a number from 0 to 0.5; received 0.7",
      "  → at color-jitter.hue",
      '✖ unknown key; did you mean "hue"?',
      "  → at color-jitter.hew",
      "✖ expected a whole number from 1; received -1",
      "  → at epochs",
      '✖ unknown key; did you mean "batch-size"?',
      "  → at batch_size",
    ]);
  });

  it.each([
    ["learning-rate: 0.1", 'unknown key; did you mean "lr"?'],
    ["block: DBB", 'unknown key; did you mean "blocktype"?'],
    ["toString: 1", "unknown key; choose from arch,"],
    ["__proto__: {polluted: 1}", "unknown key; choose from arch,"],
    ["lr: .nan", "expected a number above 0; received NaN"],
    ["lr: .inf", "expected a number above 0; received Infinity"],
    ["lr: -.inf", "expected a number above 0; received -Infinity"],
    ['lr: "0.1"', 'expected a number above 0; received "0.1"'],
    ["lr:", "expected a number above 0; received null"],
    ["lr: [1, 2]", "expected a number above 0; received a list"],
    ["epochs: 1.5", "expected a whole number from 1; received 1.5"],
    ["momentum: 1", "expected a number from 0 up to, but not including, 1; received 1"],
    ["nesterov: yes", 'expected true or false; received "yes"'],
    ["device: gpu", 'expected cpu, cuda or cuda:N; received "gpu"'],
    ["rand-augment: rand-x9", '"x9" is not known'],
    ["tag: ../up", "expected up to 64 letters, digits, and . _ + -;"],
    ["dist-url: http://x", "expected tcp://HOST:PORT or env://;"],
    [`data: ${"x".repeat(5000)}`, "expected at most 4096 characters; received"],
    ["just text", "expected settings, a name and a value each; received"],
    ["- lr: 1", "expected settings, a name and a value each; received a list"],
  ])("refuses %s", (text, message) => {
    const [problem = ""] = problems(text);
    expect(problem).toContain(`✖ `);
    expect(problem).toContain(message);
    expect(problem.length).toBeLessThan(1500);
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  });

  it.each([
    ["lr: 1\nlr: 2", "unique"],
    ["lr: !custom 1", "tag"],
    ["data: !!binary aGVsbG8=", "tag"],
    ["arch: a\n---\narch: b", "multiple documents"],
    ["arch: [1", "]"],
    ["? {a: 1}\n: 2", "string"],
    ["data: *nowhere", "alias"],
    [`data: ${"[".repeat(50_000)}`, "levels deep, expected at most 20"],
    [`data: ${"{a: ".repeat(20_000)}`, "levels deep, expected at most 20"],
    [`data: ${"[".repeat(21)}${"]".repeat(21)}`, "21 levels deep, expected at most 20"],
    [`data: ${"[".repeat(20)}${"]".repeat(20)}`, "expected text; received a list"],
  ])("refuses YAML like %#", (text, hint) => {
    const error = failure(() => parse(text));
    expect(error.kind).toBe("usage");
    expect(error.message).toMatch(/^x\.yaml: \d+ problems?:\n✖ /);
    expect(error.message.toLowerCase()).toContain(hint);
  });

  it("stops documents that grow by aliases", () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"];
    for (let level = 1; level < 12; level++) {
      const aliases = Array.from({ length: 8 }, () => `*a${level - 1}`).join(", ");
      lines.push(`a${level}: &a${level} [${aliases}]`);
    }
    expect(problems(lines.join("\n"))[0]).toMatch(/not readable as YAML: .*alias/i);
  });
});

describe("readRecipe", () => {
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };

  it("reads a file", () => {
    expect(readRecipe(file("good.yaml", "\ufeffepochs: 3\n"))).toEqual({ epochs: 3 });
  });

  it("names the file in problems", () => {
    const path = file("bad.yaml", "epoch: 3\n");
    expect(failure(() => readRecipe(path)).message).toBe(
      `${path}: 1 problem:\n✖ unknown key; did you mean "epochs"?\n  → at epoch`,
    );
  });

  it.each([
    ["missing", () => join(folder, "missing.yaml"), "no such file"],
    ["a folder", () => folder, "expected a recipe, found no file"],
    [
      "too large",
      () => file("large.yaml", "#".repeat(2 ** 20 + 1)),
      "a recipe has at most 1048576",
    ],
    ["binary", () => file("binary.yaml", Uint8Array.of(0xff, 0xfe, 0x80)), "it is not UTF-8 text"],
  ])("refuses a file that is %s", (_name, path, message) => {
    const error = failure(() => readRecipe(path()));
    expect(error.kind).toBe("file");
    expect(error.message).toContain(message);
  });
});

describe("which file a recipe is", () => {
  it("a name is one of repkit's own", () => {
    expect(readRecipe(findRecipe("cpu-small"))).toMatchObject({ "img-size": 64 });
  });

  it("a path stays", () => {
    expect(findRecipe("my/cpu-small")).toBe("my/cpu-small");
    expect(findRecipe("mine.yaml")).toBe("mine.yaml");
  });

  it("another name is answered with the nearest", () => {
    expect(() => findRecipe("cpu-smal")).toThrow(
      'unknown recipe "cpu-smal"; did you mean "cpu-small"?',
    );
  });
});
