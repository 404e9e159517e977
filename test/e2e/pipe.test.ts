// Output into pipes: whole where it is read, no complaint where the reader leaves.

import { describe, expect, it } from "@jest/globals";

import { repkit, repkitUntilFirstOutput } from "../helpers/cli.js";

describe("a reader that leaves early", () => {
  it.each([
    // Each writes several times what a pipe holds.
    ["info", "-a", "ResNet-101", "-t", "DBB", "--graph"],
    ["info", "-a", "RepVGGplus-L2pse", "-t", "OREPA_VGG", "--json"],
  ])("is no failure: repkit %s %s %s %s %s %s", async (...args) => {
    const { code, signal, stdout, stderr } = await repkitUntilFirstOutput(...args);
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: "", stderr: "" });
    expect(stdout).not.toBe("");
  });
});

describe("a reader that stays", () => {
  it("gets everything, far beyond the size of a pipe", () => {
    const { stdout } = repkit("info", "-a", "ResNet-101", "-t", "DBB", "--graph");
    expect(stdout.length).toBeGreaterThan(3 * 2 ** 16);
    expect(stdout).toMatch(/\nreturn logits=[a-z]+\n$/);
  });

  it("gets no colours", () => {
    expect(repkit("list").stdout).not.toContain("\u001b");
  });
});
