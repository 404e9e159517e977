// `repkit list`: architectures, blocks, and what each valid pair costs.

import { describe, expect, it } from "@jest/globals";

import { repkit } from "../helpers/cli.js";
import { modelNames, readModel } from "../helpers/fixtures.js";

interface List {
  architectures: { name: string; blocks: string[] }[];
  blocks: { name: string; summary: string }[];
  pairs: Record<string, string | number>[];
}

describe("list", () => {
  const { code, stdout, stderr } = repkit("list", "--json");
  const list = JSON.parse(stdout) as List;

  it("--json prints one document and nothing else", () => {
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(Object.keys(list)).toEqual(["architectures", "blocks", "pairs"]);
    expect(list.architectures).toHaveLength(23);
    expect(list.blocks.map(({ name }) => name)).toEqual([
      ...["base", "ACB", "DBB", "RepVGG", "RepVGGplus", "OREPA", "OREPA_VGG"],
    ]);
    for (const { summary } of list.blocks) expect(summary).not.toBe("");
  });

  it("has every pair of the architectures' blocks, in their order", () => {
    expect(list.pairs.map(({ arch, block }) => [arch, block])).toEqual(
      list.architectures.flatMap(({ name, blocks }) => blocks.map((block) => [name, block])),
    );
    for (const pair of list.pairs) {
      expect(Object.keys(pair)).toEqual([
        ...["arch", "block", "params_train", "params_deploy", "macs_train", "macs_deploy"],
      ]);
    }
  });

  it.each(modelNames())("counts the parameters of %s as the reference does", (name) => {
    const { arch, block, params_train, params_deploy } = readModel(name);
    const pair = list.pairs.find((pair) => pair["arch"] === arch && pair["block"] === block);
    expect(pair).toMatchObject({ params_train, params_deploy });
  });

  it("a deployed model costs the same whatever its block was", () => {
    for (const { name } of list.architectures) {
      const pairs = list.pairs.filter(({ arch }) => arch === name);
      // OREPA and the others replace the very same convolutions.
      expect(new Set(pairs.map((pair) => pair["macs_deploy"])).size).toBe(1);
      for (const { macs_train, macs_deploy } of pairs) {
        expect(macs_train).toBeGreaterThanOrEqual(Number(macs_deploy));
      }
    }
  });

  it("without --json prints two tables and a remark, without blanks at the ends of lines", () => {
    const text = repkit("list");
    expect({ code: text.code, stderr: text.stderr }).toEqual({ code: 0, stderr: "" });
    const lines = text.stdout.split("\n");
    expect(lines.filter((line) => /\s$/.test(line))).toEqual([]);
    const titles = lines
      .filter((line) => /^(BLOCK|ARCHITECTURE) /.test(line))
      .map((line) => line.split(/ +/)[0]);
    expect(titles).toEqual(["BLOCK", "ARCHITECTURE"]);
    const names = new Set(lines.map((line) => line.split(" ")[0]));
    for (const { name } of list.architectures) expect(names).toContain(name);
    // A row each, two titles, two empty lines, the remark, and the end of the last line.
    expect(lines).toHaveLength(list.blocks.length + list.pairs.length + 6);
  });
});
