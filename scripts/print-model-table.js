// Writes the tables of blocks and architectures into README.md, from `repkit list`; test/e2e/readme.test.ts
// fails when they are stale. Usage: npm run build && node scripts/print-model-table.js

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const START = "<!-- Written by scripts/print-model-table.js from `repkit list`. -->";
const END = "<!-- end -->";

/**
 * @typedef {{arch: string, block: string, params_train: number, params_deploy: number, macs_train: number,
 *   macs_deploy: number}} Pair
 * @typedef {{architectures: {name: string, blocks: string[]}[], blocks: {name: string, summary: string}[],
 *   pairs: Pair[]}} List what `repkit list --json` prints
 */

/**
 * The two tables, in millions of parameters and of multiply-adds.
 * @param {List} list
 * @returns {string}
 */
export function modelTables({ architectures, blocks, pairs }) {
  const millions = (/** @type {number} */ count) => (count / 1e6).toFixed(count < 1e7 ? 2 : 1);
  const lacking = (/** @type {string[]} */ own) =>
    blocks.filter(({ name }) => !own.includes(name)).map(({ name }) => name);
  const rows = architectures.map(({ name, blocks: own }) => {
    const of = (/** @type {string} */ block) =>
      pairs.find((pair) => pair.arch === name && pair.block === block);
    const [plain, diverse] = [of("base"), of("DBB")];
    if (plain === undefined || diverse === undefined) throw new Error(`${name}: no base or DBB`);
    const deployed = [plain.params_deploy, plain.macs_deploy].map(millions);
    const trained = [diverse.params_train, diverse.macs_train].map(millions);
    return `| ${[name, ...deployed, ...trained, own[0], lacking(own).join(", ")].join(" | ")} |`;
  });
  return [
    "| block | branches while training |",
    "| --- | --- |",
    ...blocks.map(({ name, summary }) => `| ${name} | ${summary} |`),
    "",
    "| architecture | parameters, M | multiply-adds, M | trained with DBB: parameters, M | multiply-adds, M | default block | not with |",
    "| --- | ---: | ---: | ---: | ---: | --- | --- |",
    ...rows,
  ].join("\n");
}

/**
 * The tables that stand in a page, and the page with others in their place.
 * @param {string} page
 */
export function findTables(page) {
  const start = page.indexOf(START) + START.length;
  const end = page.indexOf(END, start);
  if (start < START.length || end < 0) throw new Error(`no tables between ${START} and ${END}`);
  return {
    tables: page.slice(start, end).trim(),
    replace: (/** @type {string} */ tables) =>
      `${page.slice(0, start)}\n\n${tables}\n\n${page.slice(end)}`,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const program = fileURLToPath(new URL("../bin/repkit.js", import.meta.url));
  const text = execFileSync(process.execPath, [program, "list", "--json"], { encoding: "utf8" });
  const readme = new URL("../README.md", import.meta.url);
  const page = findTables(readFileSync(readme, "utf8"));
  /** @type {unknown} */
  const list = JSON.parse(text);
  writeFileSync(readme, page.replace(modelTables(/** @type {List} */ (list))));
}
