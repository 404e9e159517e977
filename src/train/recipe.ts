/** Training recipes: YAML files whose keys are settings. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { type CST, parseDocument, Parser } from "yaml";

import { fileError, RepkitError, usageError } from "../errors.js";
import { unknownName } from "../util/suggest.js";
import { describeSystemError } from "../util/system-error.js";
import { checkRecipe, type Problem, type Recipe } from "./recipe-schema.js";

/** 1 MiB; recipes have a few hundred bytes. */
const MAX_BYTES = 2 ** 20;

/** How often a recipe may repeat what an anchor names; documents that double and double stop here. */
const MAX_ALIASES = 20;

/** Of lists and mappings in each other; a recipe has 2. */
const MAX_DEPTH = 20;

/** The recipes that come with repkit. */
const OWN = fileURLToPath(new URL("../../configs/", import.meta.url));

/**
 * The file of a recipe: a path, or the name of one of repkit's own (`cpu-small`).
 * @throws RepkitError "usage" for a name that is neither
 */
export function findRecipe(name: string): string {
  if (existsSync(name) || !/^[\w-]+$/.test(name)) return name;
  const names = readdirSync(OWN).map((file) => file.replace(/\.yaml$/, ""));
  if (names.includes(name)) return `${OWN}${name}.yaml`;
  throw usageError(unknownName("recipe", name, names));
}

/** Reads and checks a recipe. Throws one error with all of its problems. */
export function readRecipe(path: string): Recipe {
  return parseRecipe(read(path), path);
}

/** `name` is what errors call the text. */
export function parseRecipe(text: string, name: string): Recipe {
  const result = checkRecipe(parseYaml(text, name));
  if ("recipe" in result) return result.recipe;
  throw withProblems(name, result.problems);
}

/** First line: how many; then, for each, what and where. */
function withProblems(name: string, problems: readonly Problem[]): RepkitError {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  const lines = problems.flatMap(({ message, path }) =>
    path.length === 0 ? [`✖ ${message}`] : [`✖ ${message}`, `  → at ${path.join(".")}`],
  );
  return new RepkitError("usage", [`${name}: ${count}:`, ...lines].join("\n"), {
    details: { problems: problems.map(({ message, path }) => ({ message, path: path.join(".") })) },
  });
}

/** YAML 1.2's core types: no tags, whatever a document declares. */
function parseYaml(text: string, name: string): unknown {
  const depth = depthOf(text);
  if (depth > MAX_DEPTH) {
    const message = `not readable as YAML: ${depth} levels deep, expected at most ${MAX_DEPTH}`;
    throw withProblems(name, [{ message, path: [] }]);
  }
  try {
    const document = parseDocument(text, {
      schema: "core",
      version: "1.2",
      resolveKnownTags: false,
      stringKeys: true,
      logLevel: "error", // "silent" would hide a second document
    });
    // A tag that is not known is a warning: its value would be read as if it were not there.
    const problems = [...document.errors, ...document.warnings].map(({ message }) => ({
      message: firstLine(message),
      path: [],
    }));
    if (problems.length > 0) throw withProblems(name, problems);
    return document.toJS({ maxAliasCount: MAX_ALIASES }) ?? {};
  } catch (error) {
    if (error instanceof RepkitError) throw error;
    // Too many aliases.
    const message = firstLine(error instanceof Error ? error.message : String(error));
    throw withProblems(name, [{ message: `not readable as YAML: ${message}`, path: [] }]);
  }
}

/**
 * How deep lists and mappings lie in each other. Found without recursion and before anything is made of
 * them, because the parser's own recursion can exhaust the stack and, in it, abort the process.
 */
function depthOf(text: string): number {
  let deepest = 0;
  const open: { token: CST.Token | null | undefined; depth: number }[] = [];
  for (const token of new Parser().parse(text)) open.push({ token, depth: 0 });
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (token === null || token === undefined) continue;
    deepest = Math.max(deepest, depth);
    if ("value" in token) open.push({ token: token.value, depth });
    if (!("items" in token)) continue;
    for (const { key, value } of token.items) {
      open.push({ token: key, depth: depth + 1 }, { token: value, depth: depth + 1 });
    }
  }
  return deepest;
}

function read(path: string): string {
  let bytes: Uint8Array;
  try {
    const stats = statSync(path); // before opening, which waits at a pipe
    if (!stats.isFile()) throw fileError(path, "expected a recipe, found no file");
    if (stats.size > MAX_BYTES) {
      throw fileError(path, `a recipe has at most ${MAX_BYTES} bytes, this has ${stats.size}`);
    }
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof RepkitError) throw error;
    throw fileError(path, describeSystemError(error), { cause: error });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw fileError(path, "not a recipe: it is not UTF-8 text", { cause: error });
  }
}

function firstLine(message: string): string {
  return message.split("\n", 1)[0]?.replace(/:$/, "") ?? message;
}
